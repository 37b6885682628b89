module.exports = { siteMetadata: { title: 'TV shows, with Gatsby' } };
