#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/rpc/channel.h"

namespace wavefield {

// How to reach one cluster, under a name.
struct Profile {
  std::string name;
  ConnectionOptions options;  // absolute paths
};

// The profiles of the user who runs this program: NAME.json in `profiles/` of
// $XDG_CONFIG_HOME/wavefield (without that variable ~/.config/wavefield), with the files that it
// refers to, NAME.….token and NAME.….ca.pem, readable by their owner alone; `current-profile`
// beside it names the one that is used where none is named.
class ProfileStore {
 public:
  static constexpr char kDefaultName[] = "default";

  // FAILED_PRECONDITION where neither XDG_CONFIG_HOME nor HOME says where they are.
  static absl::StatusOr<ProfileStore> Open();

  // INVALID_ARGUMENT for what is no name: 1 to 63 of a-z, A-Z, 0-9, '.', '_' and '-', the first a
  // letter or digit.
  static absl::Status CheckName(const std::string& name);

  // NOT_FOUND names those that exist.
  absl::StatusOr<Profile> Load(const std::string& name) const;
  std::vector<std::string> List() const;
  // "": none.
  std::string Current() const;
  absl::Status SetCurrent(const std::string& name) const;
  // Keeps copies of the files that `profile.options` names, but for the client's certificate and
  // key. `token`: empty for none. What was kept under the name before is whole until this is done.
  absl::Status Save(Profile profile, const std::string& token) const;
  // Also one that cannot be read. Where it is current, none is any more.
  absl::Status Remove(const std::string& name) const;

 private:
  explicit ProfileStore(std::filesystem::path root) : root_(std::move(root)) {}
  std::filesystem::path File(const std::string& name, const std::string& ending) const {
    return root_ / "profiles" / (name + ending);
  }

  // Tokens and certificates of a profile, but those of the version `but`.
  absl::Status RemoveVersions(const std::string& name, const std::string& but) const;

  std::filesystem::path root_;
};

// `given`, with what is empty in it taken from the profile `name` (empty: the current one, if there
// is one), and from the defaults in the end. What a profile holds is for its own address: where
// another one is given, nothing is taken from the current profile, whatever its state, and a named
// one is refused, INVALID_ARGUMENT.
absl::StatusOr<ConnectionOptions> WithProfile(ConnectionOptions given, const std::string& name);

}  // namespace wavefield
