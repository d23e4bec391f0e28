// Calls the TypeScript client for the tests: a JSON object a line on stdin, an answer a line on stdout, in any order.
//
// {"id", "url", "token", "call": "dlq.retry", "args": [...]} -> {"id", "ok"} or {"id", "error": {"type", "message", "status", ...}}
//
// "queue.*" takes {"queue": name, "args": [...]}. Values that JSON has not: {"$base64": "..."} is bytes, {"$date": ms} a Date,
// {"$llm": [baseUrl, token]} a provider.

"use strict";

const { createRequire, syncBuiltinESMExports } = require("node:module");
const https = require("node:https");
const readline = require("node:readline");

// Without a running broker the client would download and start a server of its own: that must fail here, and say so.
https.get = () => {
  throw new Error("the client has not found the broker and wants to download a server");
};
syncBuiltinESMExports();

const answers = process.stdout;
// A client that prints must not get between the answers.
for (const name of ["log", "info", "warn", "error", "debug"]) {
  console[name] = (...words) => process.stderr.write(`${words.join(" ")}\n`);
}

const qstash = createRequire(`${process.cwd()}/package.json`)("@upstash/qstash");
const clients = new Map();

function decode(value) {
  if (Array.isArray(value)) return value.map(decode);
  if (value === null || typeof value !== "object") return value;
  if ("$base64" in value) return new Uint8Array(Buffer.from(value.$base64, "base64"));
  if ("$date" in value) return new Date(value.$date);
  if ("$llm" in value) {
    const [baseUrl, token] = value.$llm;
    return { name: "llm", provider: qstash.custom({ baseUrl, token }) };
  }
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, decode(member)]));
}

// Builds a client as its users do: from the environment alone.
function client({ url, token, devPort }) {
  const key = `${url} ${token} ${devPort}`;
  if (!clients.has(key)) {
    process.env.QSTASH_URL = url;
    process.env.QSTASH_TOKEN = token;
    clients.set(key, new qstash.Client());
    delete process.env.QSTASH_URL;
    delete process.env.QSTASH_TOKEN;
  }
  return clients.get(key);
}

// Members that the package's type declarations mark as private.
const PRIVATE = new Set(["constructor", "createThirdParty", "getAuthorizationToken", "verifyWithKey", "verifyBodyAndUrl"]);

function methodsOf(thing) {
  const own = Object.keys(thing).filter((name) => typeof thing[name] === "function");
  const inherited = Object.getOwnPropertyNames(Object.getPrototypeOf(thing));
  return [...own, ...inherited].filter((name) => !PRIVATE.has(name));
}

// Lists what the package offers, so that a new method without a test is noticed.
function listMethods() {
  const built = new qstash.Client({ baseUrl: "http://127.0.0.1:1", token: "t" });
  const methods = [];
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(qstash.Client.prototype))) {
    if (PRIVATE.has(name)) continue;
    if (property.get) methods.push(...methodsOf(built[name]).map((method) => `${name}.${method}`));
    else if (name === "queue" || name === "chat") {
      methods.push(...methodsOf(built[name]({ queueName: "q" })).map((method) => `${name}.${method}`));
    } else methods.push(name);
  }
  methods.push(...methodsOf(new qstash.Receiver()).map((method) => `receiver.${method}`));
  return { methods, exports: Object.keys(qstash) };
}

// A client in development mode finds the broker by itself; only the port may be said.
function developmentClient(port) {
  if (port === undefined) delete process.env.QSTASH_DEV_PORT;
  else process.env.QSTASH_DEV_PORT = String(port);
  return new qstash.Client({ devMode: true });
}

async function call(request) {
  const args = decode(request.args);
  const [api, method] = request.call.split(".");
  if (request.call === "methods") return listMethods();
  if (request.call === "development.url") return developmentClient().http.baseUrl;
  if (request.call === "development.publish") return developmentClient(args.port).publish(args.message);
  if (request.call === "development.verify") {
    return new qstash.Receiver({ devMode: true }).verify(args);
  }
  if (request.call === "receiver.verify") {
    const [currentSigningKey, nextSigningKey] = args.keys;
    return new qstash.Receiver({ currentSigningKey, nextSigningKey }).verify(args);
  }
  const root = client(request);
  if (method === undefined) return root[api](...args);
  if (api === "queue") return root.queue({ queueName: args.queue })[method](...args.args);
  if (api === "chat") return root.chat()[method](...args);
  return root[api][method](...args);
}

function answer(line) {
  answers.write(`${JSON.stringify(line)}\n`);
}

async function serve(request) {
  try {
    answer({ id: request.id, ok: (await call(request)) ?? null });
  } catch (error) {
    const { name, message, status, limit, remaining, reset } = error;
    answer({ id: request.id, error: { type: name, message, status, limit, remaining, reset } });
  }
}

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", (line) => serve(JSON.parse(line)));
// The tests are over, and nobody waits for what still runs.
lines.on("close", () => process.exit(0));
