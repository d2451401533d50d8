#!/usr/bin/env bash
# Starts Prometheus and Grafana over the runs of this machine, whichever of them is installed; Ctrl-C stops both.
# `make monitor` calls it.
#
#   tools/monitor.sh [RUNS]   RUNS: the folder that has the grids (runs)
#
# Everything listens on loopback only, needs no root, and keeps its data in build/monitor, which may be removed at any
# time: runs keep their own record. PROMETHEUS and GRAFANA name programs that are not where they usually are,
# PROMETHEUS_PORT and GRAFANA_PORT other ports than 9465 and 9466.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "${BASH_SOURCE[0]}")/.."

runs=$(realpath -m "${1:-runs}")
data=$PWD/build/monitor
targets=$data/targets
prometheus_at=127.0.0.1:${PROMETHEUS_PORT:-9465}
grafana_port=${GRAFANA_PORT:-9466}
children=()

# find_program NAME… prints the first of these that can be started.
find_program() {
  local name
  for name in "$@"; do
    [[ -z $name ]] || ! command -v "$name" || return 0
  done
  return 1
}

# links keeps a link to the list of every grid, and none to one that is gone: Prometheus' file discovery takes no wildcard
# in the middle of a path.
links() {
  local list name
  for list in "$runs"/*/targets.json "$runs"/*/*/targets.json; do
    name=${list#"$runs"/}
    name=$targets/$(tr / _ <<<"${name%/targets.json}").json
    [[ -L $name ]] || ln -s "$list" "$name"
  done
  find "$targets" -xtype l -delete
}

# begin NAME COMMAND… starts a program that writes its log to build/monitor/NAME.log.
begin() {
  local name=$1
  shift
  "$@" >"$data/$name.log" 2>&1 </dev/null &
  children+=($!)
}

end() {
  trap - EXIT
  trap '' INT TERM # a second Ctrl-C does not cut the first one short
  ((${#children[@]})) || return 0
  kill "${children[@]}" 2>/dev/null || true
  wait "${children[@]}" || true
}

start_prometheus() {
  local program
  if ! program=$(find_program "${PROMETHEUS:-}" prometheus || tools/get.sh prometheus --there 2>/dev/null); then
    echo "Prometheus is not installed: apt install prometheus, or tools/get.sh prometheus (into the cache, without root)"
    return 1
  fi
  begin prometheus "$program" --config.file=monitoring/prometheus.yml --storage.tsdb.path="$data/prometheus" \
    --storage.tsdb.retention.time=30d --web.listen-address="$prometheus_at"
  echo "Prometheus  http://$prometheus_at  alerts: http://$prometheus_at/alerts"
}

start_grafana() {
  local program home
  if ! program=$(find_program "${GRAFANA:-}" grafana /usr/share/grafana/bin/grafana); then
    echo "Grafana is not installed: Debian has no package of it, https://grafana.com/grafana/download has; then GRAFANA=…/bin/grafana"
    return 1
  fi
  program=$(realpath "$program")
  home=$(dirname "$(dirname "$program")")
  [[ -d $home/public ]] || home=/usr/share/grafana
  # Who reaches the loopback port may look and nothing else. Nothing is reported or fetched.
  begin grafana env PLASTICITY_PROMETHEUS="http://$prometheus_at" PLASTICITY_DASHBOARDS="$PWD/monitoring/grafana/dashboards" \
    GF_SERVER_HTTP_ADDR=127.0.0.1 GF_SERVER_HTTP_PORT="$grafana_port" \
    GF_PATHS_DATA="$data/grafana" GF_PATHS_LOGS="$data/grafana" GF_PATHS_PLUGINS="$data/grafana/plugins" \
    GF_PATHS_PROVISIONING="$PWD/monitoring/grafana/provisioning" \
    GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH="$PWD/monitoring/grafana/dashboards/sweep.json" \
    GF_AUTH_ANONYMOUS_ENABLED=true GF_AUTH_ANONYMOUS_ORG_ROLE=Viewer GF_AUTH_BASIC_ENABLED=false GF_AUTH_DISABLE_LOGIN_FORM=true \
    GF_ANALYTICS_REPORTING_ENABLED=false GF_ANALYTICS_CHECK_FOR_UPDATES=false GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false \
    GF_NEWS_NEWS_FEED_ENABLED=false GF_SECURITY_DISABLE_GRAVATAR=true GF_PLUGINS_PREINSTALL_DISABLED=true \
    "$program" server --homepath "$home"
  echo "Grafana     http://127.0.0.1:$grafana_port  (log: build/monitor/grafana.log)"
}

rm -rf "$targets"
mkdir -p "$targets"
links
trap end EXIT
trap 'exit 0' INT TERM
start_prometheus || true
start_grafana || true
if ((${#children[@]} == 0)); then
  echo "nothing to start" >&2
  exit 1
fi
echo "watching $runs: sweep run --listen 127.0.0.1:9463, train --listen 127.0.0.1:9464; Ctrl-C stops"
while sleep 5 & wait $!; do
  links
  for child in "${children[@]}"; do
    kill -0 "$child" 2>/dev/null || {
      echo "one of them ended by itself; the end of its log:" >&2
      tail -n 3 "$data"/*.log >&2
      exit 1
    }
  done
done
