#include "cli/profiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/ascii.h"
#include "cli/environment.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxNameLength = 63;
constexpr char kCurrent[] = "current-profile";
constexpr char kToken[] = ".token";
constexpr char kCertificates[] = ".ca.pem";
constexpr size_t kVersionLength = 17;

// What tells the files of one login from those of another: '.' and 16 hexadecimal digits.
std::string NewVersion() {
  std::random_device random;
  return fmt::format(".{:08x}{:08x}", static_cast<uint32_t>(random()),
                     static_cast<uint32_t>(random()));
}

bool IsVersion(const std::string& text) {
  return text.size() == kVersionLength && text[0] == '.' &&
         text.find_first_not_of("0123456789abcdef", 1) == std::string::npos;
}

absl::Status RemoveFile(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(
      fmt::format("cannot remove {}: {}", path.string(), error.message()));
}

absl::Status WritePrivateFile(const fs::path& path, const std::string& contents) {
  return WriteFileAtomically(path, contents, /*mode=*/0600);
}

std::string Absolute(const std::string& path) {
  return path.empty() ? path : fs::absolute(path).lexically_normal().string();
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
  // Under names that only the new JSON refers to: a token never meets the address before it.
  const std::string version = NewVersion();
  if (!options.ca_file.empty()) {
    WF_ASSIGN_OR_RETURN(const std::string certificates, ReadFile(options.ca_file, kMaxFileBytes));
    options.ca_file = File(profile.name, version + kCertificates).string();
    WF_RETURN_IF_ERROR(WritePrivateFile(options.ca_file, certificates));
  }
  options.token_file = token.empty() ? "" : File(profile.name, version + kToken).string();
  if (!token.empty()) WF_RETURN_IF_ERROR(WritePrivateFile(options.token_file, token + "\n"));
  const nlohmann::json json = {{"address", options.address},
                               {"ca_file", options.ca_file},
                               {"token_file", options.token_file},
                               {"client_cert", Absolute(options.client_certificate_file)},
                               {"client_key", Absolute(options.client_key_file)}};
  WF_RETURN_IF_ERROR(WritePrivateFile(File(profile.name, ".json"), json.dump(2) + "\n"));
  return RemoveVersions(profile.name, /*but=*/version);
}

absl::Status ProfileStore::RemoveVersions(const std::string& name, const std::string& but) const {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root_ / "profiles", error)) {
    const std::string file = entry.path().filename().string();
    if (!file.starts_with(name)) continue;
    const std::string rest = file.substr(name.size());
    const std::string version = rest.substr(0, kVersionLength),
                      ending = rest.substr(version.size());
    if (!IsVersion(version) || version == but) continue;
    if (ending == kToken || ending == kCertificates) WF_RETURN_IF_ERROR(RemoveFile(entry.path()));
  }
  return absl::OkStatus();
}

absl::Status ProfileStore::Remove(const std::string& name) const {
  std::error_code error;
  if (Current() == name) fs::remove(root_ / kCurrent, error);
  const absl::Status known = Load(name).status();
  if (!known.ok() && !absl::IsFailedPrecondition(known)) return known;  // a broken one goes, too
  WF_RETURN_IF_ERROR(RemoveVersions(name, /*but=*/""));
  return RemoveFile(File(name, ".json"));
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
  const absl::StatusOr<Profile> profile = store->Load(chosen);
  const bool elsewhere =
      !given.address.empty() && !(profile.ok() && given.address == profile->options.address);
  // An address that is given needs no current profile, be that another's, broken or gone.
  if (elsewhere && name.empty()) return given;
  WF_RETURN_IF_ERROR(profile.status());
  if (elsewhere) {
    return absl::InvalidArgumentError(fmt::format(
        "the profile '{}' is for {}, and the address is given as {}: leave one of the two out "
        "(--profile or WAVEFIELD_PROFILE; --address or WAVEFIELD_ADDRESS)",
        name, profile->options.address, given.address));
  }
  const auto fill = [&](std::string ConnectionOptions::*member) {
    if ((given.*member).empty()) given.*member = profile->options.*member;
  };
  fill(&ConnectionOptions::address);
  fill(&ConnectionOptions::ca_file);
  fill(&ConnectionOptions::token_file);
  fill(&ConnectionOptions::client_certificate_file);
  fill(&ConnectionOptions::client_key_file);
  return given;
}

}  // namespace wavefield
