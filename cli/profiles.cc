#include "cli/profiles.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxNameLength = 63;
constexpr char kCurrent[] = "current-profile";

// As WriteFileAtomically(), for the owner's eyes alone.
absl::Status WritePrivateFile(const fs::path& path, const std::string& contents) {
  const fs::path temporary = path.string() + fmt::format(".{}.tmp", getpid());
  const auto fail = [&](const char* what) {
    const absl::Status status = ErrnoToStatus(errno, what + path.string());
    ::unlink(temporary.c_str());
    return status;
  };
  FileDescriptor fd(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return ErrnoToStatus(errno, "cannot write " + path.string());
  for (size_t done = 0; done < contents.size();) {
    const ssize_t put = ::write(fd.get(), contents.data() + done, contents.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail("cannot write ");
    done += static_cast<size_t>(put);
  }
  if (::fsync(fd.get()) != 0) return fail("cannot write ");
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail("cannot write ");
  return SyncDirectory(path.parent_path());
}

std::string Absolute(const std::string& path) {
  return path.empty() ? path : fs::absolute(path).lexically_normal().string();
}

std::string EnvironmentOr(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

}  // namespace

absl::StatusOr<ProfileStore> ProfileStore::Open() {
  const std::string home = EnvironmentOr("HOME", "");
  const std::string config =
      EnvironmentOr("XDG_CONFIG_HOME", home.empty() ? "" : home + "/.config");
  if (!config.empty()) return ProfileStore(fs::path(config) / "wavefield");
  return absl::FailedPreconditionError(
      "profiles are kept in the user's configuration, and neither XDG_CONFIG_HOME nor HOME says "
      "where that is");
}

absl::Status ProfileStore::CheckName(const std::string& name) {
  const auto is_plain = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
  };
  if (!name.empty() && name.size() <= kMaxNameLength &&
      absl::ascii_isalnum(static_cast<unsigned char>(name[0])) &&
      std::all_of(name.begin(), name.end(), is_plain)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("'{}' is not the name of a profile: 1 to {} of a-z, A-Z, 0-9, '.', '_' and '-', "
                  "the first a letter or digit",
                  name.substr(0, 100), kMaxNameLength));
}

absl::StatusOr<Profile> ProfileStore::Load(const std::string& name) const {
  WF_RETURN_IF_ERROR(CheckName(name));
  const fs::path path = File(name, ".json");
  const absl::StatusOr<std::string> text = ReadFile(path, kMaxFileBytes);
  if (absl::IsNotFound(text.status())) {
    const std::vector<std::string> known = List();
    return absl::NotFoundError(
        fmt::format("there is no profile '{}'; {}", name,
                    known.empty() ? "'wavefield login ADDRESS' makes one"
                                  : "known: " + fmt::format("{}", fmt::join(known, ", "))));
  }
  WF_RETURN_IF_ERROR(text.status());
  Profile profile{.name = name, .options = {}};
  try {
    const nlohmann::json json = nlohmann::json::parse(*text);
    profile.options.address = json.at("address").get<std::string>();
    profile.options.ca_file = json.value("ca_file", "");
    profile.options.token_file = json.value("token_file", "");
    profile.options.client_certificate_file = json.value("client_cert", "");
    profile.options.client_key_file = json.value("client_key", "");
  } catch (const nlohmann::json::exception&) {
    return absl::FailedPreconditionError(fmt::format(
        "{} is not a profile as 'wavefield login' writes it; log in again", path.string()));
  }
  return profile;
}

std::vector<std::string> ProfileStore::List() const {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root_ / "profiles", error)) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() == ".json" && CheckName(name).ok()) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string ProfileStore::Current() const {
  absl::StatusOr<std::string> name = ReadFile(root_ / kCurrent, kMaxFileBytes);
  return name.ok() ? std::string(absl::StripAsciiWhitespace(*name)) : "";
}

absl::Status ProfileStore::SetCurrent(const std::string& name) const {
  return WritePrivateFile(root_ / kCurrent, name + "\n");
}

absl::Status ProfileStore::Save(Profile profile, const std::string& token) const {
  WF_RETURN_IF_ERROR(CheckName(profile.name));
  WF_RETURN_IF_ERROR(CreateDirectories(root_ / "profiles"));
  std::error_code error;
  fs::permissions(root_ / "profiles", fs::perms::owner_all, error);
  ConnectionOptions& options = profile.options;
  if (!options.ca_file.empty()) {
    WF_ASSIGN_OR_RETURN(const std::string certificates, ReadFile(options.ca_file, kMaxFileBytes));
    options.ca_file = File(profile.name, ".ca.pem").string();
    WF_RETURN_IF_ERROR(WritePrivateFile(options.ca_file, certificates));
  }
  options.token_file = token.empty() ? "" : File(profile.name, ".token").string();
  if (token.empty()) {
    fs::remove(File(profile.name, ".token"), error);
  } else {
    WF_RETURN_IF_ERROR(WritePrivateFile(options.token_file, token + "\n"));
  }
  const nlohmann::json json = {{"address", options.address},
                               {"ca_file", options.ca_file},
                               {"token_file", options.token_file},
                               {"client_cert", Absolute(options.client_certificate_file)},
                               {"client_key", Absolute(options.client_key_file)}};
  return WritePrivateFile(File(profile.name, ".json"), json.dump(2) + "\n");
}

absl::Status ProfileStore::Remove(const std::string& name) const {
  WF_RETURN_IF_ERROR(Load(name).status());
  std::error_code error;
  for (const char* ending : {".token", ".ca.pem", ".json"}) {
    fs::remove(File(name, ending), error);
    if (error) {
      return absl::UnavailableError(
          fmt::format("cannot remove {}: {}", File(name, ending).string(), error.message()));
    }
  }
  if (Current() == name) fs::remove(root_ / kCurrent, error);
  return absl::OkStatus();
}

absl::StatusOr<ConnectionOptions> WithProfile(ConnectionOptions given, const std::string& name) {
  const auto with_default = [](ConnectionOptions options) {
    if (options.address.empty()) options.address = ConnectionOptions().address;
    return options;
  };
  const absl::StatusOr<ProfileStore> store = ProfileStore::Open();
  if (!store.ok() && !name.empty()) return store.status();
  if (!store.ok()) return with_default(std::move(given));
  const std::string chosen = name.empty() ? store->Current() : name;
  if (chosen.empty()) return with_default(std::move(given));
  WF_ASSIGN_OR_RETURN(const Profile profile, store->Load(chosen));
  if (!given.address.empty() && given.address != profile.options.address) return given;
  const auto fill = [&](std::string ConnectionOptions::*member) {
    if ((given.*member).empty()) given.*member = profile.options.*member;
  };
  fill(&ConnectionOptions::address);
  fill(&ConnectionOptions::ca_file);
  fill(&ConnectionOptions::token_file);
  fill(&ConnectionOptions::client_certificate_file);
  fill(&ConnectionOptions::client_key_file);
  return given;
}

}  // namespace wavefield
