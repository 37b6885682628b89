import React, { useState } from 'react';
import { useAuth0 } from '@auth0/auth0-react';
import { audience } from '../wrap-root-element';

export const Head = () => (
  <>
    <html lang="en" />
    <title>TV shows, with Gatsby</title>
    <link rel="icon" href="data:," />
  </>
);

// Calls a function with the user's token; what it answers is kept for show.
function useFunctions() {
  const { getAccessTokenSilently } = useAuth0();
  const [answer, setAnswer] = useState(null);
  const call = async (name) => {
    try {
      const token = await getAccessTokenSilently({ authorizationParams: { audience } });
      const api = await fetch(`/.netlify/functions/${name}`, { headers: { authorization: `Bearer ${token}` } });
      setAnswer({ name, status: api.status, statusText: api.statusText, body: await api.json() });
    } catch (error) {
      setAnswer({ name, error: error.message });
    }
  };
  return { answer, call };
}

function Header() {
  const { isAuthenticated, user, loginWithRedirect, logout } = useAuth0();
  return (
    <header>
      <h1>TV shows</h1>
      <p>{isAuthenticated ? user.name : 'Not signed in'}</p>
      {isAuthenticated
        ? <button type="button" onClick={() => logout({ logoutParams: { returnTo: window.location.origin } })}>Logout</button>
        : <button type="button" onClick={() => loginWithRedirect({ appState: { returnTo: '/' } })}>Login</button>}
    </header>
  );
}

export default function IndexPage() {
  const { isLoading, error } = useAuth0();
  const { answer, call } = useFunctions();
  if (isLoading) return <p role="status">One moment …</p>;
  return (
    <>
      <Header />
      <main>
        {error && <p role="alert">{error.message}</p>}
        <p>
          <button type="button" onClick={() => call('me')}>My Profile</button>
          <button type="button" onClick={() => call('shows')}>TV Shows</button>
        </p>
        <pre aria-live="polite" data-of={answer?.name}>{answer && JSON.stringify(answer, null, 2)}</pre>
      </main>
    </>
  );
}
