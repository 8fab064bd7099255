#include "coordinator/server/token_table.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <sstream>

#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr uint64_t kMaxFileBytes = 1 << 20;
constexpr size_t kMinTokenLength = 16;

}  // namespace

absl::StatusOr<TokenTable> TokenTable::Load(const std::string& path) {
  WF_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  TokenTable table;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line);
    std::vector<std::string> parts;
    for (std::string word; words >> word;) parts.push_back(word);
    if (parts.empty() || parts[0][0] == '#') continue;
    if (parts.size() > 2) {
      return absl::InvalidArgumentError(fmt::format(
          "{}:{}: has {} words; a line is NAME TOKEN, or TOKEN", path, number, parts.size()));
    }
    if (parts.back().size() < kMinTokenLength) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: the token has {} characters; it needs at least {} (`openssl rand "
                      "-hex 32` makes one)",
                      path, number, parts.back().size(), kMinTokenLength));
    }
    table.digests_.push_back(Sha256Hex(parts.back()));
  }
  if (table.digests_.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{} holds no token; a line is NAME TOKEN, or TOKEN", path));
  }
  return table;
}

bool TokenTable::Accepts(const std::string& authorization) const {
  const std::string scheme = "Bearer ";
  if (authorization.rfind(scheme, 0) != 0) return false;
  const std::string digest = Sha256Hex(authorization.substr(scheme.size()));
  int accepted = 0;
  for (const std::string& known : digests_) {
    accepted |= CRYPTO_memcmp(known.data(), digest.data(), digest.size()) == 0 ? 1 : 0;
  }
  return accepted != 0;
}

}  // namespace wavefield::coordinator
