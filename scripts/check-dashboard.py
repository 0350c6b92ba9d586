"""The Grafana dashboard for the compiler and for promtool; scripts/check-metrics runs this.

Writes CHECK.ts, which compiles only if the dashboard and each panel's options are as @grafana/schema has them, and CHECK.yml, a
rule for each query, which promtool reads only if all of them are PromQL.

    check-dashboard.py DASHBOARD NODE_MODULES CHECK.ts CHECK.yml
"""

import json
import re
import sys

dashboard_file, modules, ts, rules = sys.argv[1:]
with open(dashboard_file, encoding="utf-8") as file:
    dashboard = json.load(file)
schema = modules + "/@grafana/schema/dist/types/raw"

out = [
    f'import type {{ Dashboard, Panel }} from "{schema}/dashboard/x/types.gen";',
    # in JSON an enumeration is its word
    "type Loose<T> = T extends string ? `${T}` : T extends (infer U)[] ? Loose<U>[]"
    " : T extends object ? { [K in keyof T]: Loose<T[K]> } : T;",
    'type Read = Omit<Loose<Dashboard>, "panels"> & { panels: Loose<Panel>[] };',
    f"export const dashboard: Read = {json.dumps(dashboard)};",
]
queries = []
for number, panel in enumerate(dashboard["panels"]):
    config = f'{schema}/composable/{panel["type"].replace("-", "")}/panelcfg/x/types.gen'
    out.append(f'import type * as P{number} from "{config}";')
    out.append(f'export const options{number}: Loose<P{number}.Options> = {json.dumps(panel["options"])};')
    custom = panel["fieldConfig"]["defaults"].get("custom")
    if custom is not None:
        out.append(f"export const custom{number}: Partial<Loose<P{number}.FieldConfig>> = {json.dumps(custom)};")
    queries += [target["expr"] for target in panel["targets"]]
    for target in panel["targets"]:
        if target["datasource"]["uid"] != "${datasource}":
            sys.exit(f'{panel["title"]}: its data source is not the variable')
with open(ts, "w", encoding="utf-8") as file:
    file.write("\n".join(out) + "\n")

if not queries:
    sys.exit("no queries")
lines = ["groups:", "  - name: dashboard", "    rules:"]
for number, query in enumerate(queries):
    query = re.sub(r"\$\{?[a-z_]+\}?", "x", query)
    lines += [f"      - record: dashboard:{number}", f"        expr: {json.dumps(query)}"]
with open(rules, "w", encoding="utf-8") as file:
    file.write("\n".join(lines) + "\n")
print(f'{len(dashboard["panels"])} panels, {len(queries)} queries')
