// web_page.cc: a page that needs nothing from elsewhere: a table for each kind of thing, drawn anew
// with each event.
#include "web.h"

const char web_page[] = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>weft: manager</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark }
body { font: 14px system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.3em } h2 { font-size: 1em; margin: 1.5em 0 .3em }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .15em .8em .15em 0; border-bottom: 1px solid #8884;
  overflow-wrap: anywhere }
th { font-weight: 600; color: #888 } td { font-variant-numeric: tabular-nums }
small { color: #888 } #state { float: right }
</style></head><body>
<h1>weft manager <small id="state">connecting</small></h1>
<p id="facts"></p><div id="tables"></div>
<script>
'use strict';
const TITLES = { queue: 'Queues', lock: 'Locks', semaphore: 'Semaphores', barrier: 'Barriers',
  event: 'Events', jobs: 'Jobs', clients: 'Clients' };
const CLIENT = ['id', 'addr', 'name', 'age', 'idle', 'db', 'cmd', 'user'];
const MOST = 500;
function element(kind, text, parent) {
  const e = document.createElement(kind);
  if (text !== null) e.textContent = text;
  parent.append(e);
  return e;
}
// name=value words of INFO and CLIENT LIST
function words(line) {
  return Object.fromEntries(line.split(' ').map(w => [w.split('=')[0], w.split('=').slice(1)
    .join('=')]));
}
function time(ms) {
  return ms < 1000 ? ms + ' ms' : ms < 60000 ? (ms / 1000).toFixed(1) + ' s'
    : (ms / 60000).toFixed(1) + ' min';
}
function cell(row, key) {
  const v = row[key];
  if (key === 'age' || key === 'idle') return typeof v === 'number' ? time(v) : v + ' s';
  if (key === 'owner' && v === 0) return '-';
  return typeof v === 'object' ? JSON.stringify(v) : v;
}
function table(to, title, rows, columns) {
  const h = element('h2', title + ' ', to);
  element('small', rows === null ? 'too many to be shown' : String(rows.length), h);
  if (!rows || rows.length === 0) return;
  const t = element('table', null, to), head = element('tr', null, t);
  columns.forEach(c => element('th', c, head));
  rows.slice(0, MOST).forEach(row => {
    const line = element('tr', null, t);
    columns.forEach(c => element('td', cell(row, c), line));
  });
}
const source = new EventSource('/events');
source.onopen = () => { document.getElementById('state').textContent = 'live' };
source.onerror = () => { document.getElementById('state').textContent = 'not connected' };
source.onmessage = e => {
  const all = JSON.parse(e.data), to = document.createElement('div');
  to.id = 'tables';
  for (const kind in TITLES) {
    let rows = all[kind];
    if (kind === 'clients' && rows) rows = rows.trim().split('\n').map(words);
    table(to, TITLES[kind], rows, kind === 'clients' ? CLIENT
      : rows && rows.length ? Object.keys(rows[0]) : []);
  }
  document.getElementById('tables').replaceWith(to);
  const info = {};
  (all.info || '').split(/\r?\n/).forEach(l => { const i = l.indexOf(':');
    if (i > 0) info[l.slice(0, i)] = l.slice(i + 1) });
  document.getElementById('facts').textContent = ['uptime_in_seconds', 'used_memory_human',
    'connected_clients', 'blocked_clients', 'total_commands_processed',
    'instantaneous_ops_per_sec'].filter(k => k in info)
    .map(k => k.replaceAll('_', ' ') + ' ' + info[k]).join(', ');
};
</script></body></html>
)";
