#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace wavefield::coordinator {

// The bearer tokens of a token file, as digests: the tokens themselves are not kept. Immutable.
class TokenTable {
 public:
  // Lines "NAME TOKEN" or bare "TOKEN"; empty lines and those that begin with '#' are skipped.
  // INVALID_ARGUMENT names the line; it needs at least one token, each of at least 16 characters.
  static absl::StatusOr<TokenTable> Load(const std::string& path);

  // True if `authorization` is "Bearer " and one of the tokens. Takes the same time for every wrong
  // one.
  bool Accepts(const std::string& authorization) const;

 private:
  std::vector<std::string> digests_;
};

}  // namespace wavefield::coordinator
