// Reads streams of HTTP requests as the server of Node.js does: hex lines in, a line of JSON out for each.
'use strict';
const http = require('node:http');
const { Duplex } = require('node:stream');
const readline = require('node:readline');

class Wire extends Duplex {
  _read() {}
  _write(_chunk, _encoding, done) { done(); }
  setTimeout() { return this; }
  setKeepAlive() { return this; }
  setNoDelay() { return this; }
}

function read(stream) {
  return new Promise((resolve) => {
    const requests = [];
    let goesOn = true;
    const server = http.createServer({ keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0 });
    server.on('request', (request, response) => {
      const body = [];
      request.on('data', (part) => body.push(part));
      request.on('end', () => {
        requests.push([request.method, request.url, Buffer.concat(body).toString('hex')]);
        response.end();
      });
      request.on('error', () => { goesOn = false; });
    });
    server.on('clientError', () => { goesOn = false; });
    const wire = new Wire();
    wire.on('error', () => {});
    server.emit('connection', wire);
    wire.push(stream);
    // Everything is in memory: some turns of the loop later nothing more comes.
    let turns = 0;
    const turn = () => {
      turns += 1;
      if (turns < 40) { setImmediate(turn); return; }
      if (wire.writableEnded || wire.destroyed) { goesOn = false; }
      wire.destroy();
      resolve({ requests, goes_on: goesOn });
    };
    setImmediate(turn);
  });
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await read(Buffer.from(line.trim(), 'hex'))));
  }
})();
