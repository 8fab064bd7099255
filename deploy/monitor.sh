#!/usr/bin/env bash
# Runs Prometheus and Alertmanager beside a coordinator, with the configuration of deploy/prometheus and the
# rules of dashboards/prometheus, on loopback, in the foreground; Ctrl-C ends both.
#
# usage: bash deploy/monitor.sh [options]
#   --coordinator HOST:PORT   its --http-listen address, default 127.0.0.1:7071
#   --data-dir DIR            all is kept in wavefield-monitoring below it, default ~/.local/share/wavefield
#   --prometheus-port N       default 9090
#   --alertmanager-port N     default 9093
#   --config DIR              of prometheus.yml and alertmanager.yml, default deploy/prometheus
#   --rules DIR               of the rules, *.yml, default dashboards/prometheus
#   -h, --help                this text
#
# Programs are taken from PATH, or from below build/prometheus, where deploy/unpack-prometheus.sh puts them.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

coordinator=127.0.0.1:7071 prometheus_port=9090 alertmanager_port=9093
data_dir=${XDG_DATA_HOME:-$HOME/.local/share}/wavefield
config=$root/deploy/prometheus rules=$root/dashboards/prometheus
fail() { echo "monitor.sh: $*" >&2; exit 2; }
while (($#)); do
  case "$1" in
    --coordinator|--data-dir|--prometheus-port|--alertmanager-port|--config|--rules)
      (($# >= 2)) || fail "$1 needs a value"
      name=${1#--}; declare "${name//-/_}=$2"; shift ;;
    -h|--help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "unknown option '$1'; --help lists those that exist" ;;
  esac
  shift
done
[[ $coordinator =~ ^.+:[0-9]+$ ]] || fail "--coordinator is '$coordinator'; HOST:PORT is expected"
for port in "$prometheus_port" "$alertmanager_port"; do
  [[ $port =~ ^[0-9]+$ && $port -ge 1 && $port -le 65535 ]] || fail "port '$port'; allowed: 1 to 65535"
done
for file in "$config/prometheus.yml" "$config/alertmanager.yml"; do
  [[ -r $file ]] || fail "--config: cannot read $file"
done
compgen -G "$rules/*.yml" >/dev/null || fail "--rules: no *.yml in $rules"

export PATH=$PATH:$root/build/prometheus/usr/bin
# Debian's name first; elsewhere the program is called alertmanager.
alertmanager=$(command -v prometheus-alertmanager || command -v alertmanager || true)
for program in prometheus promtool amtool "${alertmanager:-prometheus-alertmanager}"; do
  command -v "$program" >/dev/null || fail "$program is not in PATH: run deploy/unpack-prometheus.sh" \
    "(unpacks Debian's packages below build/prometheus), or install prometheus and prometheus-alertmanager"
done

data_dir=$(realpath -m -- "$data_dir")/wavefield-monitoring
etc=$data_dir/etc
mkdir -p "$etc/rules" "$etc/targets"
# The servers inherit it: their data stays locked for as long as one of them lives.
exec 9>"$data_dir/lock"
flock --nonblock 9 || fail "another monitor.sh, or a server that it started, runs in $data_dir:" \
  "end it, or give another --data-dir"
rm -f "$etc"/rules/*.yml
cp "$config/prometheus.yml" "$config/alertmanager.yml" "$etc"
cp "$rules"/*.yml "$etc/rules"
printf -- '- targets: ["%s"]\n' "$coordinator" >"$etc/targets/coordinator.yml"
printf -- '- targets: ["127.0.0.1:%s"]\n' "$alertmanager_port" >"$etc/targets/alertmanager.yml"
if ! { promtool check config "$etc/prometheus.yml" && amtool check-config "$etc/alertmanager.yml"; } \
  &>"$data_dir/check.log"; then
  cat "$data_dir/check.log" >&2
  exit 1
fi

children=()
clean_up() {
  local code=$?
  trap '' INT TERM HUP
  if ((${#children[@]})); then
    kill "${children[@]}" 2>/dev/null || true
    wait "${children[@]}" 2>/dev/null || true
  fi
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

prometheus_url=http://127.0.0.1:$prometheus_port alertmanager_url=http://127.0.0.1:$alertmanager_port
# Where an unpacked one finds its templates, see deploy/unpack-prometheus.sh.
templates=${alertmanager%/bin/*}/share/prometheus/alertmanager
[[ ! -d $templates ]] || cd "$templates"
"$alertmanager" --config.file="$etc/alertmanager.yml" --storage.path="$data_dir/alertmanager" \
  --web.listen-address="127.0.0.1:$alertmanager_port" --cluster.listen-address= \
  >"$data_dir/alertmanager.log" 2>&1 &
children+=($!)
prometheus --config.file="$etc/prometheus.yml" --storage.tsdb.path="$data_dir/prometheus" \
  --storage.tsdb.retention.time=30d --web.listen-address="127.0.0.1:$prometheus_port" \
  >"$data_dir/prometheus.log" 2>&1 &
children+=($!)

ended() {  # ended: true once one of them is gone, whose last words are shown
  local i names=(alertmanager prometheus)
  for i in 0 1; do
    kill -0 "${children[i]}" 2>/dev/null && continue
    echo "monitor.sh: ${names[i]} ended; the last of $data_dir/${names[i]}.log:" >&2
    tail -n 5 "$data_dir/${names[i]}.log" >&2
    return 0
  done
  return 1
}
is_ready() (  # is_ready PORT
  exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET /-/ready HTTP/1.0\r\n\r\n' >&3 &&
    IFS= read -r -t 2 line <&3 && [[ $line == *' 200 '* ]]
) 2>/dev/null
until is_ready "$alertmanager_port" && is_ready "$prometheus_port"; do
  ended && exit 1
  sleep 0.2
done
ended && exit 1  # what is ready there is another's

echo "ready $prometheus_url"
cat <<TEXT
Prometheus    $prometheus_url
Alertmanager  $alertmanager_url  (amtool --alertmanager.url=$alertmanager_url alert query)
scrapes       http://$coordinator/metrics
data, logs    $data_dir; Ctrl-C ends both.
TEXT
wait -n "${children[@]}" || true
ended || true
exit 1
