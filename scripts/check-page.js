// The part of scripts/check-page that drives the browser: node check-page.js BINARY DIRECTORY
const { chromium } = require('playwright-core');
const axe = require('axe-core').source;
const { execFileSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const [, , binary, work] = process.argv;
const HOUR = 3600e3;
const DAY = 24 * HOUR;
const now = Date.now();
const EVIL = `"><script>alert(1)</script><img src=x onerror='alert(2)'>`;

const login = (n, expires, deadline) => ({
  claudeAiOauth: {
    accessToken: `a${n}`, refreshToken: `r${n}`, expiresAt: expires, refreshTokenExpiresAt: deadline,
    scopes: ['user:inference'], subscriptionType: 'max',
  },
});
const token = (n, expires) => ({ type: 'token', provider: 'anthropic', token: `a${n}`, expires });

function home(name, files) {
  const dir = path.join(work, `home-${name}`);
  fs.rmSync(dir, { recursive: true, force: true });
  const all = { '.config/nolapse/config.toml': '[renew]\nmode = "off"\n', ...files };
  for (const [file, content] of Object.entries(all)) {
    const at = path.join(dir, file);
    fs.mkdirSync(path.dirname(at), { recursive: true });
    fs.writeFileSync(at, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
  }
  const env = { HOME: dir, PATH: '/usr/bin:/bin' };
  const run = (...args) => {
    try {
      execFileSync(binary, args, { env, cwd: dir, stdio: 'ignore' });
    } catch (error) {
      if (error.status === 3 && args[0] === 'status') throw error;
    }
  };
  return { dir, run, page: path.join(dir, 'page.html') };
}

const store = (agent, profiles) => [`.clawdbot/agents/${agent}/agent/auth-profiles.json`, { version: 1, profiles }];
const CLI = 'anthropic:claude-cli';

function homes() {
  const fine = home('fine', {
    '.claude/.credentials.json': login(1, now + 7 * HOUR, now + 24 * DAY),
    ...Object.fromEntries(['main', 'work', 'mail'].map((a) => store(a, { [CLI]: token(1, now + 7 * HOUR) }))),
  });
  fine.run('run');
  const lapses = home('lapses', {
    '.config/nolapse/config.toml':
      '[renew]\nmode = "off"\n[[login]]\ndir = "~/.claude-team"\nagents = ["clawdbot/team"]\nprofile = "anthropic:team"\n' +
      `[[login]]\ndir = "~/.claude-ci"\nname = '''${EVIL}'''\n[[channel]]\ntype = "command"\nname = "phone"\ncommand = ["true"]\n`,
    '.claude/.credentials.json': login(1, now + 7 * HOUR, now + 24 * DAY),
    '.claude-team/.credentials.json': login(2, now + 5 * HOUR, now + 5 * DAY + 5 * HOUR),
    '.claude-ci/.credentials.json': login('', 0, now + 20 * DAY),
    '.clawdbot/agents/torn/agent/auth-profiles.json': '{"version":1,"profiles":{',
    ...Object.fromEntries([
      store('main', { [CLI]: token(0, now - HOUR), 'openai:key': { type: 'api_key', provider: 'openai', key: 'k' } }),
      store('work', { [CLI]: token(1, now + 7 * HOUR) }),
      store('team', { 'anthropic:team': token(2, now + 5 * HOUR) }),
      store('own', { [`anthropic:${EVIL}`]: token(9, now + 11 * DAY), ['anthropic:' + 'long'.repeat(40)]: token(8, now - DAY) }),
    ]),
  });
  lapses.run('run');
  fs.appendFileSync(
    path.join(lapses.dir, '.local/state/nolapse/history.jsonl'),
    JSON.stringify({ at: now, what: 'failed', whom: EVIL, text: 'x'.repeat(300) + EVIL }) + '\n',
  );
  const many = (n) =>
    Object.fromEntries(
      Array.from({ length: 20 }, (_, k) => [`anthropic:p${k}`, token(`${n}-${k}`, n % 9 ? now + 90 * DAY : now - HOUR)]),
    );
  const thousand = home('thousand', Object.fromEntries(Array.from({ length: 1000 }, (_, n) => store(`agent-${n}`, many(n)))));
  const empty = home('empty', {});
  return { fine, lapses, thousand, empty };
}

(async () => {
  const faults = [];
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
  for (const [name, one] of Object.entries(homes())) {
    one.run('status', '--html', one.page);
    const size = fs.statSync(one.page).size;
    let boxes = 0;
    for (const colorScheme of ['light', 'dark']) {
      for (const [width, height] of [[360, 740], [390, 844], [1200, 900]]) {
        const where = `${name} ${colorScheme} ${width}`;
        const context = await browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP: false });
        const page = await context.newPage();
        page.on('console', (m) => faults.push(`${where}: console: ${m.text()}`));
        page.on('pageerror', (e) => faults.push(`${where}: error: ${e.message}`));
        page.on('dialog', (d) => { faults.push(`${where}: dialog: ${d.message()}`); d.dismiss(); });
        page.on('request', (r) => {
          if (r.url() !== `file://${one.page}`) faults.push(`${where}: request: ${r.url()}`);
        });
        await page.goto(`file://${one.page}`);
        await page.screenshot({ path: path.join(work, `${name}-${colorScheme}-${width}.png`), fullPage: name !== 'thousand' });
        const seen = await page.evaluate(() => {
          document.querySelectorAll('details').forEach((d) => { d.open = true; });
          const root = document.documentElement;
          return {
            over: root.scrollWidth - root.clientWidth,
            styled: getComputedStyle(document.body).margin === '0px',
            scripts: document.querySelectorAll('script, img, iframe, object, link').length,
            boxes: document.querySelectorAll('*').length,
            title: document.title,
          };
        });
        boxes = seen.boxes;
        if (seen.over > 0) faults.push(`${where}: ${seen.over} px wider than the screen`);
        if (!seen.styled) faults.push(`${where}: the style was refused`);
        if (seen.scripts > 0) faults.push(`${where}: ${seen.scripts} elements that load something`);
        if (!seen.title.includes('need')) faults.push(`${where}: title \`${seen.title}\``);
        if (name !== 'thousand' || width === 390) {
          await page.evaluate(axe);
          const found = await page.evaluate(() => window.axe.run());
          for (const v of found.violations) {
            faults.push(`${where}: axe: ${v.id} (${v.impact}): ${v.nodes.length} times, ${v.nodes[0].html.slice(0, 120)}`);
          }
        }
        await context.close();
      }
    }
    console.log(`${name}: ${size} bytes, ${boxes} elements`);
  }
  await browser.close();
  for (const fault of faults) console.error(`FAIL: ${fault}`);
  console.log(faults.length === 0 ? 'check-page: all fine' : `check-page: ${faults.length} faults`);
  process.exit(faults.length === 0 ? 0 : 1);
})();
