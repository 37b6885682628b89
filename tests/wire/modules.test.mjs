// Scripts and the modules that they require: where those are found, how their texts are read.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, start } from '../lib/host.mjs';

const BOM = '\u{feff}';
const MODULES = {
  'scripts/beside.lua': 'return "beside"',
  'scripts/folder/init.lua': 'return "folder"',
  'at_root.lua': 'return "at_root"',
  'tree/init.lua': 'return "tree"',
  'lua_modules/share/lua/5.4/rock.lua': 'local name, place = ... return table.concat({ name, place, (require "rocks") }, " ")',
  'lua_modules/share/lua/5.4/rocks/init.lua': 'return require "rocks.part"',
  'lua_modules/share/lua/5.4/rocks/part.lua': 'return "part"',
  'lib/own.lua': 'return "own"',
  'lib/owns/init.lua': 'return "owns"',
  // The first place wins.
  'lib/rock.lua': 'return "lib"', 'lib/at_root.lua': 'return "lib"', 'at_root/init.lua': 'return "init"', 'beside.lua': 'return "root"',
};

test('require: beside the script, beside functions.lua, LuaRocks tree, lib; NAME.lua and NAME/init.lua', async (t) => {
  const h = await start(t, {
    files: {
      ...deployment({ all: `return function()
        local out = {}
        for _, name in ipairs { "beside", "folder", "at_root", "tree", "rock", "own", "owns", "lib.own", "lib/own" } do out[#out + 1] = require(name) end
        return table.concat(out, ",")
      end` }),
      ...MODULES,
    },
  });
  assert.equal((await h.call('all')).text, 'beside,folder,at_root,tree,rock lua_modules/share/lua/5.4/rock.lua part,own,owns,own,own');
});

test('names that callers choose and nobody has take no room from the modules that are there', async (t) => {
  const scripts = { ask: 'return function(event) return tostring(select(2, pcall(require, event.queryStringParameters.name))) end',
    flood: 'return function() local n = 0 for i = 1, 4000 do n = n + (pcall(require, "absent" .. i) and 1 or 0) end return tostring(n) .. require("late") end' };
  const h = await start(t, { files: { ...deployment(scripts, { fields: { flood: 'cpu = 30, timeout = 60' } }), 'late.lua': 'return " late"' } });
  assert.match((await h.call('ask', { suffix: '?name=nobody' })).text, /^module 'nobody' not found/);
  assert.equal((await h.call('flood')).text, '0 late');
  assert.equal((await h.call('flood')).text, '0 late');
});

test('a module that fails says why each time; one that waits may be required by two requests', async (t) => {
  const h = await start(t, {
    files: {
      ...deployment({
        bad: `return function()
          local out = {}
          for i = 1, 3 do out[i] = tostring(select(2, pcall(require, "broken"))):gsub("^.*: ", "") end
          out[4] = select(2, pcall(require, "loop")):match("loop: .*")
          out[5] = select(2, pcall(require, "loop")):match("loop: .*")
          out[6] = select(2, pcall(require, "absent")):match("module '.-' not found")
          out[7] = tostring(require "nothing") .. tostring(require "nothing")
          return table.concat(out, "\\n")
        end`,
        slow: 'return function(event) return require("slowly") end',
        stop: 'return function(event) if event.queryStringParameters.n == "1" then require "endless" end return tostring(pcall(require, "endless")) end',
      }, { fields: { stop: 'cpu = 0.1' } }),
      'broken.lua': 'error("on purpose", 0)',
      'loop.lua': 'return require "loop2"',
      'loop2.lua': 'return require "loop"',
      'nothing.lua': '',
      'slowly.lua': 'sleep(0.3) return "woken"',
      'endless.lua': 'while true do end',
    },
  });
  assert.deepEqual((await h.call('bad')).text.split('\n'), [
    'on purpose', 'on purpose', 'on purpose', "loop: 'loop' requires itself, directly or through others", "loop: 'loop' requires itself, directly or through others",
    "module 'absent' not found", 'truetrue',
  ]);
  const both = await Promise.all([h.call('slow'), h.call('slow')]);
  assert.deepEqual(both.map((r) => r.text), ['woken', 'woken']);
  // A limit within a module leaves nothing behind that a later request would trip over.
  for (let i = 0; i < 2; i++) assert.equal((await h.call('stop', { suffix: '?n=1' })).json().errorType, 'CpuLimitExceeded');
});

test('a byte order mark, #! and CRLF are read alike in configuration, scripts and modules', async (t) => {
  const dress = (text) => `${BOM}#!/usr/bin/env luafn that's all\n${text}`.replaceAll('\n', '\r\n');
  const plain = {
    ...deployment({
      a: 'local m = require "m"\nreturn function()\n  return m.text .. load("return 1")()\nend',
      fails: 'local fail = function()\n  error("here")\nend\nreturn function()\n  return select(2, pcall(fail))\nend',
    }),
    'm.lua': 'return {\n  text = [[a\nb]],\n}',
  };
  const answers = [];
  for (const files of [plain, Object.fromEntries(Object.entries(plain).map(([name, text]) => [name, dress(text)]))]) {
    const h = await start(t, { files });
    answers.push((await h.call('a')).text);
    assert.equal((await h.call('fails')).text, `scripts/fails.lua:${files === plain ? 2 : 3}: here`, 'lines keep their numbers');
  }
  assert.equal(answers[1], answers[0]);
});

test('package: what is loaded is there to read; modules may be given by the script', async (t) => {
  const h = await start(t, {
    files: {
      ...deployment({
        a: `package.preload.given = function(name, place) return { name, place, require "own" } end
          package.loaded.own2 = require "own"
          require "no" require "no"
          local ok, why = pcall(function() package.loaded.json = {} end)
          function string.shout(s) return s:upper() .. "!" end
          return function()
            local late, whyLate = pcall(function() package.loaded.late = 1 end)
            return table.concat({ require("given")[1], require("given")[2], require("given")[3], require "own2", package.loaded.own, package.loaded.self,
              package.config:sub(1, 1), package.path:match("^[^;]*"), ("x"):shout(), why:gsub("^.-: ", ""), tostring(late), whyLate:gsub("^.-: ", ""),
              tostring(rawequal(package.loaded.json, json)), tostring(os.getenv "SEEN"), tostring(os.getenv "HIDDEN"), tostring(require "sets"), tostring(require "no") }, "\\n")
          end`,
      }, { fields: { a: 'env = { "SEEN" }' } }),
      '.env': 'SEEN=yes\nHIDDEN=no\n',
      'own.lua': 'package.loaded.self = "by itself" return "own"',
      'sets.lua': '', 'no.lua': 'n = (n or 0) + 1 return n > 1 and n',
    },
  });
  assert.deepEqual((await h.call('a')).text.split('\n'), [
    'given', ':preload:', 'own', 'own', 'own', 'by itself', '/', './?.lua', 'X!', "'package.loaded.json' cannot be set: it belongs to the host", 'false',
    "'package.loaded.late' cannot be set once the script has loaded (use a local): other requests would see it", 'true', 'yes', 'nil', 'true', '2',
  ]);
});
