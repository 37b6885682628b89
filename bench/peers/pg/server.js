// One query by key and its row as JSON, on Node's own HTTP server, with what most use for it.
// usage: node server.js PORT URL
'use strict';

const http = require('node:http');
const { Pool } = require('pg');

const [, , port, connectionString] = process.argv;
const pool = new Pool({ connectionString, max: 10 });

// With a name `pg` prepares it once a connection.
const show = { name: 'show', text: 'select id, name, url, language, rating, ended from shows where id = $1' };

async function answer(req, res) {
  const { rows: [row] } = await pool.query({ ...show, values: [Number(req.url.slice('/shows/'.length))] });
  if (!row) return res.writeHead(404).end();
  return res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(row));
}

http.createServer(answer).listen(Number(port), '127.0.0.1');
