import React from 'react';
import { Auth0Provider } from '@auth0/auth0-react';
import { navigate } from 'gatsby';
import './style.css';

// Without settings: the issuer of `luafn dev`, on the page's own origin. There is no page while
// Gatsby renders to files.
const origin = typeof window === 'undefined' ? 'http://localhost' : window.location.origin;

export const audience = process.env.GATSBY_AUTH0_AUDIENCE || 'https://api/tv-shows';

export const wrapRootElement = ({ element }) => (
  <Auth0Provider
    domain={process.env.GATSBY_AUTH0_DOMAIN || origin}
    clientId={process.env.GATSBY_AUTH0_CLIENT_ID || 'luafn-demo'}
    authorizationParams={{
      redirect_uri: origin,
      audience,
      scope: process.env.GATSBY_AUTH0_SCOPE || 'openid profile email read:shows',
    }}
    onRedirectCallback={(appState) => navigate(appState?.returnTo || '/', { replace: true })}
  >
    {element}
  </Auth0Provider>
);
