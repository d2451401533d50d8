#!/usr/bin/env bash
# Holds the dashboards against the schema that Grafana publishes as a package of npm, with the TypeScript compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

schema=$(tools/get.sh grafana-schema)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$schema/node_modules" "$work/node_modules"
cp monitoring/grafana/schema.ts "$work"
for board in monitoring/grafana/dashboards/*.json; do
  # As a literal: what TypeScript imports from a JSON file has lost its exact values.
  printf "import type { Board } from './schema';\nexport const board: Board = %s;\n" "$(cat "$board")" >"$work/$(basename "$board" .json).ts"
done
node "$schema/node_modules/typescript/bin/tsc" --noEmit --strict --skipLibCheck --target esnext --module esnext \
  --moduleResolution bundler --pretty false "$work"/*.ts
echo "the dashboards are as Grafana's schema $(sed -n 's/.*"@grafana\/schema": "\([^"]*\)".*/\1/p' "$schema/package.json") says" >&2
