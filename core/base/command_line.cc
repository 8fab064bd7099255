#include "core/base/command_line.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>
#include <vector>

#include "core/base/json_errors.h"
#include "core/base/suggest.h"
#include "core/base/version.h"

namespace wavefield {
namespace {

std::string EnvironmentName(const std::string& flag) {
  std::string name = "WAVEFIELD_" + flag;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return c == '-' ? '_' : static_cast<char>(std::toupper(c));
  });
  return name;
}

const CLI::App* FindSubcommand(const CLI::App& app, const std::string& name) {
  for (const CLI::App* subcommand : app.get_subcommands({})) {
    if (subcommand->check_name(name)) return subcommand;
  }
  return nullptr;
}

// Teaches CLI11 to read its options from JSON, and that the environment comes before the file.
class JsonConfig final : public CLI::Config {
 public:
  // `root` outlives this.
  explicit JsonConfig(const CLI::App& root) : root_(root) {}

  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return ""; }

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::vector<CLI::ConfigItem> items;
    try {
      Collect(nlohmann::json::parse(input), {}, items);
    } catch (const nlohmann::json::exception& error) {
      throw CLI::ConversionError("the configuration file is not valid JSON: " +
                                 JsonErrorText(error));
    }
    return items;
  }

 private:
  static std::string Scalar(const nlohmann::json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
  }

  bool IsInEnvironment(const std::vector<std::string>& parents, const std::string& key) const {
    const CLI::App* app = &root_;
    for (const std::string& parent : parents) {
      if (app != nullptr) app = FindSubcommand(*app, parent);
    }
    const CLI::Option* option = app == nullptr ? nullptr : app->get_option_no_throw("--" + key);
    return option != nullptr && !option->get_envname().empty() &&
           std::getenv(option->get_envname().c_str()) != nullptr;
  }

  void Collect(const nlohmann::json& object, const std::vector<std::string>& parents,
               std::vector<CLI::ConfigItem>& items) const {
    if (!object.is_object()) {
      throw CLI::ConversionError("the configuration file must hold a JSON object");
    }
    for (const auto& [key, value] : object.items()) {
      if (value.is_object()) {
        std::vector<std::string> path = parents;
        path.push_back(key);
        Collect(value, path, items);
        continue;
      }
      if (IsInEnvironment(parents, key)) continue;
      CLI::ConfigItem item;
      item.parents = parents;
      item.name = key;
      if (value.is_array()) {
        for (const auto& element : value) item.inputs.push_back(Scalar(element));
      } else {
        item.inputs.push_back(Scalar(value));
      }
      items.push_back(std::move(item));
    }
  }

  const CLI::App& root_;
};

void ConfigureTree(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    const auto& names = option->get_lnames();
    if (names.empty() || names[0] == "help" || names[0] == "version" || names[0] == "config")
      continue;
    if (option->get_envname().empty()) option->envname(EnvironmentName(names[0]));
  }
  app.allow_config_extras(CLI::config_extras_mode::error);
  for (CLI::App* subcommand : app.get_subcommands({})) ConfigureTree(*subcommand);
}

const CLI::App& Deepest(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : Deepest(*parsed.back());
}

// `dashes`: before the names of flags.
std::vector<std::string> KnownWords(const CLI::App& app, const std::string& dashes) {
  std::vector<std::string> words;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back(dashes + name);
  }
  for (const CLI::App* subcommand : app.get_subcommands({}))
    words.push_back(subcommand->get_name());
  return words;
}

std::string WithSuggestion(const CLI::App& root, const std::string& message) {
  const CLI::App& app = Deepest(root);
  std::string word = message.substr(message.find_last_of(" :") + 1);
  word = word.substr(0, word.find('='));
  const std::string suggestion = SuggestNearest(word, KnownWords(app, "--"));
  return suggestion.empty() ? message : message + "; " + suggestion;
}

// CLI11 says "INI was not able to parse up.slotz".
std::string ConfigMessage(const CLI::App& root, const std::string& message) {
  const std::string prefix = "INI was not able to parse ";
  if (!message.starts_with(prefix)) return message;
  const std::string key = message.substr(prefix.size());
  const CLI::App* app = &root;
  std::string rest = key;
  for (size_t dot; (dot = rest.find('.')) != std::string::npos; rest = rest.substr(dot + 1)) {
    const CLI::App* subcommand = FindSubcommand(*app, rest.substr(0, dot));
    if (subcommand == nullptr) break;
    app = subcommand;
  }
  const std::string suggestion = SuggestNearest(rest, KnownWords(*app, ""));
  return "the configuration file has an unknown key '" + key + "'" +
         (suggestion.empty() ? "" : "; " + suggestion);
}

}  // namespace

CommandLine::CommandLine(std::string name, std::string description)
    : app_(std::move(description), std::move(name)) {
  app_.set_version_flag("--version", std::string("wavefield ") + kVersion);
  app_.config_formatter(std::make_shared<JsonConfig>(app_));
  app_.set_config("--config", "", "read flags from this JSON file");
  app_.get_formatter()->column_width(36);
}

int CommandLine::Run(int argc, char** argv, const std::function<int()>& run) {
  ConfigureTree(app_);
  try {
    app_.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app_.exit(success);
  } catch (const CLI::ExtrasError& error) {
    std::fprintf(stderr, "%s: %s\nRun with --help for the flags that exist.\n",
                 app_.get_name().c_str(), WithSuggestion(app_, error.what()).c_str());
    return 2;
  } catch (const CLI::ConfigError& error) {
    std::fprintf(stderr, "%s: %s\nRun with --help for the keys that exist.\n",
                 app_.get_name().c_str(), ConfigMessage(app_, error.what()).c_str());
    return 2;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "%s: %s\nRun with --help for usage.\n", app_.get_name().c_str(),
                 error.what());
    return 2;
  }
  return run();
}

}  // namespace wavefield
