#include "cli/completion.h"

#include <fmt/format.h>

#include <functional>
#include <map>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace wavefield {
namespace {

// The choices in a type's name as CLI11 writes it: "TEXT:{a,b}", "value in {a->0,b->1} OR {0,1}".
std::vector<std::string> ChoicesOf(const std::string& type) {
  const size_t open = type.find('{'), close = type.find('}');
  std::vector<std::string> choices;
  if (open == std::string::npos || close == std::string::npos || close < open) return choices;
  for (const absl::string_view choice :
       absl::StrSplit(type.substr(open + 1, close - open - 1), ',', absl::SkipEmpty())) {
    choices.emplace_back(choice.substr(0, choice.find("->")));
  }
  return choices;
}

std::string ResourceOf(const std::string& name) {
  static const std::map<std::string, std::string> kResources = {
      {"JOB", "jobs"},          {"CHECKPOINT", "jobs"},    {"OTHER", "jobs"},
      {"--after", "jobs"},      {"--init-from", "jobs"},   {"WORKER", "workers"},
      {"DATASET", "datasets"},  {"--dataset", "datasets"}, {"PROFILE", "profiles"},
      {"--profile", "profiles"}};
  const auto found = kResources.find(name);
  return found == kResources.end() ? "" : found->second;
}

CompletionOption Describe(const CLI::Option& option) {
  CompletionOption described;
  for (const std::string& name : option.get_lnames()) described.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) described.names.push_back("-" + name);
  described.description = option.get_description();
  described.takes_value = option.get_expected_min() > 0;
  if (described.takes_value) described.choices = ChoicesOf(option.get_type_name());
  described.resource =
      ResourceOf(described.names.empty() ? option.get_name(true) : described.names[0]);
  return described;
}

void Collect(const CLI::App& app, const std::string& path,
             std::vector<CompletionCommand>& commands) {
  CompletionCommand command{.path = path, .commands = {}, .descriptions = {}, .options = {}};
  for (const CLI::App* subcommand : app.get_subcommands({})) {
    command.commands.push_back(subcommand->get_name());
    command.descriptions.push_back(subcommand->get_description());
  }
  for (const CLI::Option* option : app.get_options()) command.options.push_back(Describe(*option));
  commands.push_back(std::move(command));
  for (const CLI::App* subcommand : app.get_subcommands({})) {
    Collect(*subcommand,
            path.empty() ? subcommand->get_name() : path + " " + subcommand->get_name(), commands);
  }
}

// A function that prints words by its first argument, a command: for bash and zsh.
std::string WordsByCommand(
    const std::string& name, const std::vector<CompletionCommand>& commands,
    const std::function<std::vector<std::string>(const CompletionCommand&)>& words_of) {
  std::string text = name + "() {\n  case $1 in\n";
  for (const CompletionCommand& command : commands) {
    const std::vector<std::string> words = words_of(command);
    if (words.empty()) continue;
    text += fmt::format("    '{}') echo '{}';;\n", command.path, absl::StrJoin(words, " "));
  }
  return text + "  esac\n}\n";
}

// What a value can be: words, or "@jobs" for ids that the program lists.
std::string ValueWords(const CompletionOption& option) {
  if (!option.resource.empty()) return "@" + option.resource;
  return absl::StrJoin(option.choices, " ");
}

// What bash and zsh share: what there is, and where in it the words before the cursor lead.
std::string SharedFunctions(const std::vector<CompletionCommand>& commands) {
  std::string text = WordsByCommand("__wavefield_commands", commands,
                                    [](const CompletionCommand& c) { return c.commands; });
  const auto flags = [](bool with_value) {
    return [with_value](const CompletionCommand& command) {
      std::vector<std::string> words;
      for (const CompletionOption& option : command.options) {
        if (with_value && !option.takes_value) continue;
        words.insert(words.end(), option.names.begin(), option.names.end());
      }
      return words;
    };
  };
  text += WordsByCommand("__wavefield_flags", commands, flags(false));
  text += WordsByCommand("__wavefield_value_flags", commands, flags(true));
  text += WordsByCommand("__wavefield_arguments", commands, [](const CompletionCommand& command) {
    std::vector<std::string> words;
    for (const CompletionOption& option : command.options) {
      if (!option.names.empty() || ValueWords(option).empty()) continue;
      words.push_back(ValueWords(option));
    }
    return words;
  });
  text += "__wavefield_values() {\n  case \"$1 $2\" in\n";
  for (const CompletionCommand& command : commands) {
    for (const CompletionOption& option : command.options) {
      for (const std::string& name : option.names) {
        if (ValueWords(option).empty()) continue;
        const std::string of = command.path.empty() ? "*" : "'" + command.path + "'";
        text += fmt::format("    {}' {}') echo '{}';;\n", of, name, ValueWords(option));
      }
    }
  }
  text += "  esac\n}\n";
  return text +
         R"sh(# Puts the ids of what there is in the place of "@jobs" and the like; $1: the program as typed.
__wavefield_expand() {
  local word
  for word in $(echo "$2"); do
    case $word in
      @jobs) "$1" "${connection[@]}" jobs --output names --limit 500 --timeout 2 2>/dev/null;;
      @datasets) "$1" "${connection[@]}" data list --output names --timeout 2 2>/dev/null;;
      @workers) "$1" "${connection[@]}" workers --output names --timeout 2 2>/dev/null;;
      @profiles) "$1" profiles list --output names 2>/dev/null;;
      *) echo "$word";;
    esac
  done
}
# Keeps a flag ($1, with the value $2) that says which cluster is asked, in `connection`.
__wavefield_keep() {
  case $1 in
    CONNECTION_FLAGS)
      case $2 in
        '~/'*) connection+=("$1=$HOME/${2#'~/'}");;
        *) connection+=("$1=$2");;
      esac;;
  esac
}
# Reads a word before the cursor: sets `command`, `flag` where a value must follow, `connection`.
__wavefield_read() {
  case $1 in
    =) ;;
    --*=*)
      __wavefield_keep "${1%%=*}" "${1#*=}"
      flag=;;
    -*)
      if [ -n "$flag" ]; then
        flag=
      else
        case " $(__wavefield_value_flags "$command") $(__wavefield_value_flags '') " in
          *" $1 "*) flag=$1;;
        esac
      fi;;
    *)
      if [ -n "$flag" ]; then
        __wavefield_keep "$flag" "$1"
        flag=
      else
        case " $(__wavefield_commands "$command") " in
          *" $1 "*) command="${command:+$command }$1";;
        esac
      fi;;
  esac
}
# The words that may stand at the cursor; $1: the program as typed, $2: what is there already.
__wavefield_candidates() {
  if [ -n "$flag" ]; then
    __wavefield_expand "$1" "$(__wavefield_values "$command" "$flag")"
    return
  fi
  case $2 in
    -*) echo "$(__wavefield_flags "$command") $(__wavefield_flags '')";;
    *)
      __wavefield_commands "$command"
      __wavefield_expand "$1" "$(__wavefield_arguments "$command")";;
  esac
}
)sh";
}

// Flags that say which cluster is asked, for the scripts that ask it.
constexpr const char* kConnectionFlags[] = {"--address",    "--profile",     "--ca-file",
                                            "--token-file", "--client-cert", "--client-key"};

std::string WithConnectionFlags(const std::string& script, const char* separator) {
  return absl::StrReplaceAll(script,
                             {{"CONNECTION_FLAGS", absl::StrJoin(kConnectionFlags, separator)}});
}

std::string FishQuoted(const std::string& text) {
  return "'" + absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}, {"\n", " "}}) + "'";
}

}  // namespace

std::vector<CompletionCommand> DescribeCommands(const CLI::App& root) {
  std::vector<CompletionCommand> commands;
  Collect(root, "", commands);
  return commands;
}

std::string BashCompletion(const std::vector<CompletionCommand>& commands) {
  return "# Completion of wavefield for bash. Use: eval \"$(wavefield completion bash)\"\n" +
         WithConnectionFlags(SharedFunctions(commands), "|") + R"sh(_wavefield() {
  local command= flag= word current=${COMP_WORDS[COMP_CWORD]}
  local -a typed=() connection=()
  local count=0 before=
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    # HOST:PORT comes as three words.
    if ((count)) && [[ $word == :* || $before == *: ]]; then
      typed[count-1]+=$word
    else
      typed[count++]=$word
    fi
    before=$word
  done
  for word in "${typed[@]}"; do
    __wavefield_read "$word"
  done
  if [ "$current" = = ]; then current=; fi
  COMPREPLY=()
  # Not by compgen -W, which would expand "$(...)" in the ids that a coordinator sends.
  while read -r word; do
    if [ -n "$word" ] && [[ $word == "$current"* ]]; then COMPREPLY+=("$word"); fi
  done < <(__wavefield_candidates "${COMP_WORDS[0]}" "$current" | tr ' ' '\n')
}
complete -o default -F _wavefield wavefield
)sh";
}

std::string ZshCompletion(const std::vector<CompletionCommand>& commands) {
  return "#compdef wavefield\n"
         "# Completion of wavefield for zsh. Use: eval \"$(wavefield completion zsh)\", after "
         "compinit\n" +
         WithConnectionFlags(SharedFunctions(commands), "|") + R"sh(_wavefield() {
  local command= flag= word current=${words[CURRENT]}
  local -a candidates connection
  for word in "${(@)words[2,CURRENT-1]}"; do
    __wavefield_read "${(Q)word}"
  done
  if [[ -z $flag && $current == --*=* ]]; then
    flag=${current%%=*}
    compset -P '*='
    current=${current#*=}
  fi
  candidates=($(__wavefield_candidates "${words[1]}" "$current"))
  if (( ${#candidates} )); then compadd -a candidates; else _files; fi
}
if [[ ${funcstack[1]} == _wavefield ]]; then _wavefield "$@"; else compdef _wavefield wavefield; fi
)sh";
}

std::string FishCompletion(const std::vector<CompletionCommand>& commands) {
  std::string text =
      "# Completion of wavefield for fish. Use: wavefield completion fish | source\n"
      "function __wavefield_commands\n  switch \"$argv\"\n";
  for (const CompletionCommand& command : commands) {
    if (command.commands.empty()) continue;
    text += fmt::format("    case {}\n      string split ' ' {}\n", FishQuoted(command.path),
                        FishQuoted(absl::StrJoin(command.commands, " ")));
  }
  text += R"sh(  end
end
# Whether the words before the cursor lead to the command $argv.
function __wavefield_at
  set -l command
  for word in (commandline -opc)[2..]
    if contains -- $word (__wavefield_commands $command)
      set -a command $word
    end
  end
  test "$command" = "$argv"
end
# The flags before the cursor that say which cluster is asked.
function __wavefield_connection
  set -l flags CONNECTION_FLAGS
  set -l flag
  for word in (commandline -opc)[2..]
    if test -n "$flag"
      printf '%s\n' $flag=(string replace -r '^~/' "$HOME/" -- $word)
      set flag
    else if contains -- $word $flags
      set flag $word
    else if contains -- (string split -m 1 = -- $word)[1] $flags
      printf '%s\n' $word
    end
  end
end
function __wavefield_ids
  switch $argv[1]
    case jobs
      wavefield (__wavefield_connection) jobs --output names --limit 500 --timeout 2 2>/dev/null
    case datasets
      wavefield (__wavefield_connection) data list --output names --timeout 2 2>/dev/null
    case workers
      wavefield (__wavefield_connection) workers --output names --timeout 2 2>/dev/null
    case profiles
      wavefield profiles list --output names 2>/dev/null
  end
end
)sh";
  for (const CompletionCommand& command : commands) {
    const std::string at =
        command.path.empty() ? ""
                             : fmt::format(" -n {}", FishQuoted("__wavefield_at " + command.path));
    for (size_t i = 0; i < command.commands.size(); ++i) {
      text += fmt::format("complete -c wavefield -f{} -a {} -d {}\n",
                          command.path.empty() ? " -n __wavefield_at" : at, command.commands[i],
                          FishQuoted(command.descriptions[i]));
    }
    for (const CompletionOption& option : command.options) {
      const std::string offered = option.resource.empty()
                                      ? absl::StrJoin(option.choices, " ")
                                      : fmt::format("(__wavefield_ids {})", option.resource);
      std::string names;
      for (const std::string& name : option.names) {
        names += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      if (!names.empty()) {
        const std::string value = !offered.empty()     ? " -x -a " + FishQuoted(offered)
                                  : option.takes_value ? " -r"
                                                       : "";
        text += fmt::format("complete -c wavefield{}{}{} -d {}\n", at, names, value,
                            FishQuoted(option.description));
      } else if (!offered.empty()) {
        text += fmt::format("complete -c wavefield -f{} -a {}\n", at, FishQuoted(offered));
      }
    }
  }
  return WithConnectionFlags(text, " ");
}

}  // namespace wavefield
