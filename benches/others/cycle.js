// Serves others.py: "cycle COUNT PATH" and "busy COUNT PATH", answered with nanoseconds for one.
const lockfile = require('proper-lockfile');
const readline = require('readline');

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [what, count, path] = line.split(' ');
  const started = process.hrtime.bigint();
  for (let i = 0; i < Number(count); i++) {
    if (what === 'busy') {
      let taken = true;
      try { lockfile.lockSync(path, { realpath: false }); } catch { taken = false; }
      if (taken) throw new Error('it took a lock that somebody has');
    } else {
      lockfile.lockSync(path, { realpath: false })();
    }
  }
  console.log(Number(process.hrtime.bigint() - started) / Number(count));
});
