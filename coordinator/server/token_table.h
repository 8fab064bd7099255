#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/server/permissions.h"

namespace wavefield::coordinator {

// The bearer tokens of a token file, as digests: the tokens themselves are not kept. Immutable.
class TokenTable {
 public:
  struct Entry {
    std::string digest;
    Caller caller;
    absl::Time expires = absl::InfiniteFuture();
  };

  // Lines "[NAME] TOKEN [role=ROLE] [expires=TIME]"; without a role it is an admin's. Empty lines
  // and those that begin with '#' are skipped. INVALID_ARGUMENT names the file, the line and what
  // is allowed, and never shows a token; there must be at least one, each of at least 16 characters
  // and on one line only.
  static absl::StatusOr<TokenTable> Load(const std::string& path);

  // Whose token `authorization` ("Bearer TOKEN") is; null if nobody's. Expired ones are found.
  // Takes the same time for every wrong one.
  const Entry* Find(const std::string& authorization) const;

 private:
  std::vector<Entry> entries_;
};

}  // namespace wavefield::coordinator
