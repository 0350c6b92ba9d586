// PACKAGE AGENT_DIR MS: an agent's own functions, those behind `models auth paste-token` (without a lock) and `models auth order set`
// (under its lock), in turn until stdin ends; what has returned is said in a line each. MS is the longest pause between two.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [dist, agentDir, pause] = process.argv.slice(2);

// bundled, under other names in every version
function functionsOf(dist) {
  const of = (text, name) => {
    if (new RegExp(`export (async )?function ${name}\\(`).test(text)) return name;
    const lists = [...text.matchAll(/^export \{([^}]*)\}/gm)].map((found) => found[1]).join(",");
    const found = new RegExp(`(?:^|[,\\s])${name}(?: as (\\S+?))?\\s*(?:,|$)`).exec(lists);
    return found && (found[1] ?? name);
  };
  const files = fs.readdirSync(dist, { recursive: true }).filter((name) => /profiles[^/]*\.js$/.test(name));
  for (const name of files) {
    const text = fs.readFileSync(path.join(dist, name), "utf8");
    const both = ["upsertAuthProfile", "setAuthProfileOrder"].map((one) => of(text, one));
    if (both.every(Boolean)) return [path.join(dist, name), ...both];
  }
  throw new Error(`no such functions in ${dist}`);
}

const [file, upsert, order] = functionsOf(dist);
const all = await import(pathToFileURL(file));
let more = true;
process.stdin.on("end", () => { more = false; }).resume();
console.log("ready");
for (let n = 0; more; n++) {
  await new Promise((done) => setTimeout(done, Math.random() * Number(pause)));
  const profileId = `openai:key-${n}`;
  all[upsert]({ agentDir, profileId, credential: { type: "api_key", provider: "openai", key: `KEY-${n}` } });
  console.log(`key ${n}`);
  if (n % 4 === 3 && (await all[order]({ agentDir, provider: "openai", order: [profileId] }))) console.log(`order ${n}`);
}
process.exit(0);
