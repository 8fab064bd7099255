#include "coordinator/server/token_table.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr uint64_t kMaxFileBytes = 1 << 20;
constexpr size_t kMinTokenLength = 16;
constexpr size_t kMaxNameLength = 128;
constexpr char kSyntax[] =
    "a line is [NAME] TOKEN [role=viewer|user|worker|admin] [expires=2027-01-31T12:00:00Z]";
constexpr std::string_view kRole = "role=";
constexpr std::string_view kExpires = "expires=";

// "key=value": what looks like an option and is none would else be taken for a token. The '=' at
// the end of base64 is none.
bool LooksLikeOption(const std::string& word) {
  const size_t key = word.find_first_not_of("abcdefghijklmnopqrstuvwxyz");
  return key != std::string::npos && key > 0 && word[key] == '=' && key + 1 < word.size() &&
         word[key + 1] != '=';
}

bool IsName(const std::string& word) {
  return word.size() <= kMaxNameLength &&
         std::all_of(word.begin(), word.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

// The errors of these two are what is wrong with the line; they do not name it.
absl::Status ParseOption(const std::string& word, TokenTable::Entry& entry) {
  if (word.starts_with(kRole)) {
    const auto role = RoleOf(word.substr(kRole.size()));
    if (!role) return absl::InvalidArgumentError("has a role that does not exist");
    entry.caller.role = *role;
  } else if (word.starts_with(kExpires)) {
    std::string problem;
    if (!absl::ParseTime(absl::RFC3339_full, word.substr(kExpires.size()), &entry.expires,
                         &problem)) {
      return absl::InvalidArgumentError("has a time of expiry that is none");
    }
  } else {
    return absl::InvalidArgumentError("has an option that does not exist");
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenTable::Entry> ParseLine(std::vector<std::string> words, int number) {
  TokenTable::Entry entry;
  while (words.size() > 1 && LooksLikeOption(words.back())) {
    WF_RETURN_IF_ERROR(ParseOption(words.back(), entry));
    words.pop_back();
  }
  if (words.size() > 2) {
    return absl::InvalidArgumentError(fmt::format("has {} words before its options", words.size()));
  }
  if (words.size() == 2 && !IsName(words[0])) {
    return absl::InvalidArgumentError(fmt::format(
        "has a name that is not {} characters of printable ASCII at most", kMaxNameLength));
  }
  entry.caller.name = words.size() == 2 ? words[0] : fmt::format("line-{}", number);
  const std::string& token = words.back();
  if (token.size() < kMinTokenLength) {
    return absl::InvalidArgumentError(
        fmt::format("the token has {} characters; it needs at least {} (`openssl rand -hex 32` "
                    "makes one)",
                    token.size(), kMinTokenLength));
  }
  entry.digest = Sha256Hex(token);
  return entry;
}

}  // namespace

absl::StatusOr<TokenTable> TokenTable::Load(const std::string& path) {
  WF_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  TokenTable table;
  std::map<std::string, int> line_of;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream stream(line);
    std::vector<std::string> words;
    for (std::string word; stream >> word;) words.push_back(word);
    if (words.empty() || words[0][0] == '#') continue;
    absl::StatusOr<Entry> entry = ParseLine(std::move(words), number);
    if (!entry.ok()) {
      return absl::InvalidArgumentError(fmt::format(
          "{}:{}: {}; {}", path, number, std::string(entry.status().message()), kSyntax));
    }
    const auto [earlier, added] = line_of.emplace(entry->digest, number);
    if (!added) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: the token is that of line {}; give each line one of its own", path,
                      number, earlier->second));
    }
    table.entries_.push_back(*std::move(entry));
  }
  if (table.entries_.empty()) {
    return absl::InvalidArgumentError(fmt::format("{} holds no token; {}", path, kSyntax));
  }
  return table;
}

const TokenTable::Entry* TokenTable::Find(const std::string& authorization) const {
  const std::string scheme = "Bearer ";
  if (!authorization.starts_with(scheme)) return nullptr;
  const std::string digest = Sha256Hex(authorization.substr(scheme.size()));
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.digest.data(), digest.data(), digest.size()) == 0) found = &entry;
  }
  return found;
}

}  // namespace wavefield::coordinator
