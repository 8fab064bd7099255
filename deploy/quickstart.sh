#!/usr/bin/env bash
# From nothing to a trained wave-field language model: installs Debian packages, builds, starts a
# local cluster, prepares text, trains on two ranks, evaluates, and writes text with the result.
#
# usage: bash deploy/quickstart.sh [options]
#   --text FILE|DIR    text to train on (.txt, .jsonl, those with .gz, or a folder of them);
#                      default: the GCIDE dictionary of Debian's dict-gcide, 40 MB of English
#   --minutes M        training time, default 5
#   --steps N          a fixed number of optimizer steps instead
#   --preset NAME      default wave-field-3m
#   --data-dir DIR     default ~/.local/share/wavefield/quickstart
#   --port N           of the cluster's API, default 7070 (metrics one above)
#   --prompt TEXT      what the sample continues
#   --keep-running     leave the cluster up at the end
#   -h, --help         this text
set -euo pipefail
export LC_ALL=C.UTF-8
# What is meant for another cluster is not meant for this one.
unset WAVEFIELD_CA_FILE WAVEFIELD_TOKEN_FILE WAVEFIELD_CONFIG
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

text='' minutes=5 steps='' preset=wave-field-3m port=7070 keep_running=false
prompt='The '
data_dir=${XDG_DATA_HOME:-$HOME/.local/share}/wavefield/quickstart
fail() { echo "quickstart: $*" >&2; exit 2; }
while (($#)); do
  case "$1" in
    --text|--minutes|--steps|--preset|--data-dir|--port|--prompt)
      (($# >= 2)) || fail "$1 needs a value"
      name=${1#--}; declare "${name//-/_}=$2"; shift ;;
    --keep-running) keep_running=true ;;
    -h|--help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "unknown option '$1'; --help lists those that exist" ;;
  esac
  shift
done
[[ $minutes =~ ^[0-9]+(\.[0-9]+)?$ ]] || fail "--minutes is '$minutes'; a number of minutes is expected"
[[ -z $steps || $steps =~ ^[1-9][0-9]*$ ]] || fail "--steps is '$steps'; a whole number from 1 is expected"
[[ $port =~ ^[0-9]+$ && $port -ge 1 && $port -le 65534 ]] || fail "--port is '$port'; allowed: 1 to 65534"
[[ -z $text || -r $text ]] || fail "--text: cannot read '$text'"
[[ -z $text ]] || text=$(realpath -- "$text")

cluster='' job=''
clean_up() {
  local code=$?
  trap - EXIT
  trap '' INT TERM HUP
  if [[ -n $job ]]; then  # submitted and not ended: it must not wait for the next cluster
    timeout 60 wavefield cancel "$job" --wait || true
  fi
  if [[ -n $cluster ]] && kill -0 "$cluster" 2>/dev/null; then
    kill -TERM "$cluster" 2>/dev/null || true
    wait "$cluster" 2>/dev/null || true
  fi
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
[[ -t 1 ]] || say() { printf '\n== %s\n' "$*"; }

say "1/6 packages"
corpus_option=()
[[ -n $text ]] || corpus_option=(--corpus)
bash "$root/deploy/install-dependencies.sh" "${corpus_option[@]}"

say "2/6 build"
cd "$root"
[[ -f build/release/build.ninja ]] || cmake --preset release >/dev/null
cmake --build --preset release --target programs
export PATH=$root/build/release/bin:$PATH WAVEFIELD_ADDRESS=127.0.0.1:$port

say "3/6 cluster"
mkdir -p "$data_dir"
: >"$data_dir/up.log"
# In a session of its own: Ctrl-C reaches this script alone, which ends things in order.
setsid wavefield up --data-dir "$data_dir" --slots 2 --port "$port" --http-port "$((port + 1))" \
  >"$data_dir/up.log" 2>&1 &
cluster=$!
for ((i = 0; i < 300; ++i)); do
  grep -q '^ready ' "$data_dir/up.log" && break
  kill -0 "$cluster" 2>/dev/null || { cat "$data_dir/up.log" >&2; cluster=''; exit 1; }
  sleep 0.1
done
grep '^ready ' "$data_dir/up.log" || { cat "$data_dir/up.log" >&2; exit 1; }
wavefield workers

say "4/6 text"
if [[ -z $text ]]; then
  dataset=gcide text=/usr/share/dictd/gcide.dict.dz
else
  # Named by its contents: another text is another dataset.
  dataset=text-$(find "$text" -type f -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-12)
fi
wavefield data prepare --name "$dataset" --input "$text" --vocab-size 4096
wavefield data list

say "5/6 training"
# A window must fit into the text: short texts get shorter windows.
dataset_dir=$data_dir/storage/datasets/$dataset
train_tokens=$(wavefield data list --json | tr -d ' \n' | sed 's/{"name"/\n{"name"/g' |
  grep "\"datasets/$dataset\"" | sed 's/.*"train_tokens":"\{0,1\}\([0-9]*\).*/\1/')
window=512
while ((window > 8 && window >= train_tokens)); do window=$((window / 2)); done
((window == 512)) || echo "the text has $train_tokens training tokens: windows of $window instead of 512"
job=quickstart-$(date +%Y%m%d-%H%M%S)
budget=(--set "training.max_minutes=$minutes")
[[ -z $steps ]] || budget=(--set "training.max_steps=$steps")
wavefield submit --name "$job" --preset "$preset" --dataset "$dataset" --set resources.world_size=2 \
  --set "training.sequence_length=$window" --set training.batch_size=8 \
  --set training.schedule.learning_rate=0.003 "${budget[@]}" --set checkpoint.every_minutes=1 --watch

trained=$job job=''

say "6/6 result"
model_dir=$data_dir/models/$trained
wavefield checkpoints download "$trained" --output "$model_dir"
evaluation=$(wavefield evaluate "$trained" --dataset "$dataset" --json | tr -d '\n')
field() { sed "s/.*\"$1\": \{0,1\}\"\{0,1\}\([0-9.]*\).*/\1/" <<<"$2"; }
printf 'on %s held-out tokens: perplexity %.2f, accuracy %.1f %%\n' "$(field tokens "$evaluation")" \
  "$(field perplexity "$evaluation")" "$(field accuracy "$evaluation" | awk '{print 100 * $1}')"
model_bits=$(field bits_per_byte "$evaluation")
bigram_bits=$(field bits_per_byte "$(wavefield-trainer baseline "$model_dir" --dataset "$dataset_dir")")
printf 'held-out bits per byte: model %.3f, interpolated bigram of the same training tokens %.3f\n' \
  "$model_bits" "$bigram_bits"
printf '\nA sample, temperature 0.8:\n\n'
wavefield generate "$trained" --prompt "$prompt" --max-tokens 120 --temperature 0.8 --seed 1

cat <<TEXT

The cluster's data   $data_dir
The model            $model_dir
Logs                 $data_dir/logs and $data_dir/worker/logs
Metrics (while up)   http://127.0.0.1:$((port + 1))/metrics

Try next:
  export PATH=$root/build/release/bin:\$PATH
  wavefield generate $model_dir --prompt "Once" --max-tokens 100 --temperature 0.8 --seed 2
  bash deploy/quickstart.sh --minutes 20 --keep-running
  wavefield submit --help
TEXT
if $keep_running; then
  echo "The cluster is still up at $WAVEFIELD_ADDRESS (process $cluster); stop it with: kill $cluster"
  cluster=''
fi
