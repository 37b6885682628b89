import { createRoot } from 'react-dom/client';
import { Auth0Provider } from '@auth0/auth0-react';
import { App } from './App.jsx';

const audience = process.env.AUTH0_AUDIENCE || 'https://api/tv-shows';

createRoot(document.getElementById('root')).render(
  <Auth0Provider
    domain={process.env.AUTH0_DOMAIN || window.location.origin}
    clientId={process.env.AUTH0_CLIENT_ID || 'luafn-demo'}
    authorizationParams={{
      redirect_uri: window.location.origin,
      audience,
      scope: 'openid profile email read:shows',
    }}
  >
    <App />
  </Auth0Provider>,
);
