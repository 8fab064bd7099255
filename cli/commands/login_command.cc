// login, logout and profiles: how to reach clusters, kept for the next call.
#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/memory_file.h"
#include "cli/output_form.h"
#include "cli/profiles.h"
#include "cli/views/table.h"
#include "cli/views/terminal.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "proto/rpc/channel.h"
#include "proto/rpc/token_file.h"
#include "wavefield/v1/job_service.grpc.pb.h"

namespace wavefield {
namespace {

constexpr char kInterruptCharacter = '\x03';

// A line of standard input, which a terminal does not show while it is typed.
absl::StatusOr<std::string> ReadToken() {
  const bool terminal = IsTerminal(stdin);
  termios before{};
  if (terminal) {
    tcgetattr(STDIN_FILENO, &before);
    termios silent = before;
    // Ctrl-C comes as a character, lest the program ends with the terminal still silent.
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO | ISIG);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    std::fprintf(stderr, "Token (nothing where the coordinator asks for none): ");
  }
  std::string token;
  std::getline(std::cin, token);
  if (terminal) {
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    std::fprintf(stderr, "\n");
  }
  if (token.find(kInterruptCharacter) != std::string::npos) {
    return absl::CancelledError("nothing was kept");
  }
  return std::string(absl::StripAsciiWhitespace(token));
}

// What comes before the current profile in this shell; "" where nothing does.
std::string Overridden(const std::string& profile, const std::string& address) {
  for (const auto& [variable, own] :
       {std::pair("WAVEFIELD_PROFILE", &profile), std::pair("WAVEFIELD_ADDRESS", &address)}) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0' && value != *own) {
      return fmt::format("; here {} comes before it, unset that", variable);
    }
  }
  return "";
}

struct LoginFlags {
  std::string address;
  bool no_token = false;
};

absl::StatusOr<int> Login(const LoginFlags& flags, const ConnectionFlags& connection) {
  const std::string name =
      connection.profile.empty() ? ProfileStore::kDefaultName : connection.profile;
  WF_RETURN_IF_ERROR(ProfileStore::CheckName(name));
  WF_RETURN_IF_ERROR(CheckAddress(flags.address));
  WF_ASSIGN_OR_RETURN(const ProfileStore store, ProfileStore::Open());
  ConnectionFlags chosen = connection;
  chosen.use_profile = false;
  chosen.options.address = flags.address;
  std::string& token_file = chosen.options.token_file;
  FileDescriptor typed;
  if (flags.no_token) {
    token_file.clear();
  } else if (token_file.empty()) {
    WF_ASSIGN_OR_RETURN(const std::string line, ReadToken());
    if (!line.empty()) {
      WF_ASSIGN_OR_RETURN(typed, MemoryFile(line));
      token_file = fmt::format("/proc/self/fd/{}", typed.get());
    }
  }
  std::string token;
  if (!token_file.empty()) {
    WF_ASSIGN_OR_RETURN(token, TokenFile::Read(token_file));
  }
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(chosen));
  v1::ListJobsRequest request;
  request.set_page_size(1);
  WF_RETURN_IF_ERROR(session.Call(&v1::JobService::Stub::ListJobs, request).status());
  WF_RETURN_IF_ERROR(store.Save({.name = name, .options = chosen.options}, token));
  WF_RETURN_IF_ERROR(store.SetCurrent(name));
  std::printf("%s is the profile '%s', which is used from now on%s\n", flags.address.c_str(),
              name.c_str(), Overridden(name, flags.address).c_str());
  return kExitSuccess;
}

absl::StatusOr<int> Logout(const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const ProfileStore store, ProfileStore::Open());
  const std::string name = connection.profile.empty() ? store.Current() : connection.profile;
  if (name.empty()) {
    return absl::NotFoundError("no profile is in use; name one with --profile");
  }
  WF_RETURN_IF_ERROR(store.Remove(name));
  std::printf("the profile '%s' and its token are removed\n", name.c_str());
  return kExitSuccess;
}

absl::StatusOr<int> ListProfiles(const OutputFlags& output) {
  WF_ASSIGN_OR_RETURN(const ProfileStore store, ProfileStore::Open());
  const std::string current = store.Current();
  nlohmann::json list = nlohmann::json::array();
  Table table({{"PROFILE"}, {"ADDRESS"}, {"TLS"}, {"TOKEN"}, {"IN USE"}});
  for (const std::string& name : store.List()) {
    if (output.names()) {
      std::printf("%s\n", name.c_str());
      continue;
    }
    const absl::StatusOr<Profile> profile = store.Load(name);
    if (!profile.ok()) {
      PrintError(profile.status());
      continue;
    }
    const ConnectionOptions& options = profile->options;
    list.push_back({{"name", name},
                    {"address", options.address},
                    {"tls", !options.ca_file.empty()},
                    {"token", !options.token_file.empty()},
                    {"in_use", name == current}});
    table.AddRow({name, options.address, options.ca_file.empty() ? "no" : "yes",
                  options.token_file.empty() ? "no" : "yes", name == current ? "*" : ""});
  }
  if (output.json()) {
    std::printf("%s\n", nlohmann::json({{"profiles", list}}).dump(2).c_str());
  } else if (output.names()) {
    return kExitSuccess;
  } else if (list.empty()) {
    std::fprintf(stderr, "No profiles. Make one with 'wavefield login ADDRESS'.\n");
  } else {
    std::printf("%s", table.ToString().c_str());
  }
  return kExitSuccess;
}

absl::StatusOr<int> UseProfile(const std::string& name) {
  WF_ASSIGN_OR_RETURN(const ProfileStore store, ProfileStore::Open());
  WF_ASSIGN_OR_RETURN(const Profile profile, store.Load(name));
  WF_RETURN_IF_ERROR(store.SetCurrent(name));
  std::printf("the profile '%s' (%s) is used from now on%s\n", name.c_str(),
              profile.options.address.c_str(), Overridden(name, profile.options.address).c_str());
  return kExitSuccess;
}

}  // namespace

void AddLoginCommand(CLI::App& parent, CommandContext& context) {
  const auto flags = std::make_shared<LoginFlags>();
  CLI::App* command = parent.add_subcommand(
      "login",
      "Keep address, certificates and token of a cluster as a profile (--profile), once they work");
  command->add_option("ADDRESS", flags->address, "the coordinator's HOST:PORT")->required();
  command->add_flag("--no-token", flags->no_token,
                    "the coordinator asks for none; without this and --token-file, the token is "
                    "read from standard input");
  context.OnCommand(command, [&context, flags] { return Login(*flags, context.connection); });
}

void AddLogoutCommand(CLI::App& parent, CommandContext& context) {
  CLI::App* command = parent.add_subcommand(
      "logout", "Remove a profile and its token: the one in use, or --profile NAME");
  context.OnCommand(command, [&context] { return Logout(context.connection); });
}

void AddProfilesListCommand(CLI::App& parent, CommandContext& context) {
  const auto output = std::make_shared<OutputFlags>();
  CLI::App* command = parent.add_subcommand("list", "List the profiles; no token is shown");
  AddListOutputFlags(*command, *output, "them");
  context.OnCommand(command, [output] { return ListProfiles(*output); });
}

void AddProfilesUseCommand(CLI::App& parent, CommandContext& context) {
  const auto name = std::make_shared<std::string>();
  CLI::App* command = parent.add_subcommand("use", "Use a profile where none is named");
  command->add_option("PROFILE", *name, "its name")->required();
  context.OnCommand(command, [name] { return UseProfile(*name); });
}

}  // namespace wavefield
