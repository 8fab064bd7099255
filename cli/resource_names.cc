#include "cli/resource_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "core/base/status_macros.h"

namespace wavefield {
namespace {

constexpr size_t kMaxIdLength = 63;

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsId(const std::string& text) {
  return !text.empty() && text.size() <= kMaxIdLength && IsLower(text[0]) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return IsLower(c) || IsDigit(c) || c == '-'; });
}

// "latest", "100" or "100-2".
bool IsCheckpointId(const std::string& text) {
  if (text == "latest") return true;
  const auto is_number = [](const std::string& part) {
    return !part.empty() && part.size() <= 18 && std::all_of(part.begin(), part.end(), IsDigit);
  };
  const size_t dash = text.find('-');
  if (dash == std::string::npos) return is_number(text);
  return is_number(text.substr(0, dash)) && is_number(text.substr(dash + 1));
}

std::string WithoutPrefix(const std::string& text, const std::string& prefix) {
  return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}

absl::StatusOr<std::string> ParseName(const std::string& text, const std::string& collection,
                                      const std::string& kind) {
  const std::string id = WithoutPrefix(text, collection);
  if (IsId(id)) return collection + id;
  return absl::InvalidArgumentError(
      fmt::format("'{}' is not the name of a {}: a name has a lower-case letter, then at most {} "
                  "of a-z, 0-9 and '-'",
                  text, kind, kMaxIdLength - 1));
}

}  // namespace

absl::StatusOr<std::string> ParseJobName(const std::string& text) {
  return ParseName(text, "jobs/", "job");
}

absl::StatusOr<std::string> ParseDatasetName(const std::string& text) {
  return ParseName(text, "datasets/", "dataset");
}

absl::StatusOr<std::string> ParseWorkerName(const std::string& text) {
  const std::string id = WithoutPrefix(text, "workers/");
  const bool plain = !id.empty() && id.size() <= kMaxIdLength && IsLower(id[0]) &&
                     std::all_of(id.begin(), id.end(), [](char c) {
                       return IsLower(c) || IsDigit(c) || c == '-' || c == '.';
                     });
  if (plain) return "workers/" + id;
  return absl::InvalidArgumentError(
      fmt::format("'{}' is not the name of a worker: a name has a lower-case letter, then at most "
                  "{} of a-z, 0-9, '-' and '.'",
                  text, kMaxIdLength - 1));
}

absl::StatusOr<std::string> ParseCheckpointName(const std::string& text) {
  const std::string separator = text.find('@') != std::string::npos ? "@" : "/checkpoints/";
  const size_t at = text.find(separator);
  WF_ASSIGN_OR_RETURN(const std::string job, ParseJobName(text.substr(0, at)));
  const std::string id = at == std::string::npos ? "latest" : text.substr(at + separator.size());
  if (!IsCheckpointId(id)) {
    return absl::InvalidArgumentError(
        fmt::format("'{}' does not name a checkpoint: write JOB for the newest, JOB@STEP, or "
                    "jobs/JOB/checkpoints/STEP-EPOCH ('{}' is not a step)",
                    text, id));
  }
  return job + "/checkpoints/" + id;
}

bool NamesCheckpoint(const std::string& text) {
  return text.find('@') != std::string::npos || text.find("/checkpoints/") != std::string::npos;
}

std::string ResourceId(const std::string& name) { return name.substr(name.rfind('/') + 1); }

std::string ShortCheckpointName(const std::string& name) {
  const size_t at = name.find("/checkpoints/");
  if (at == std::string::npos) return name;
  return ResourceId(name.substr(0, at)) + "@" + ResourceId(name);
}

void PrintId(const std::string& id) {
  const bool plain = !id.empty() && IsLower(id[0]) && std::all_of(id.begin(), id.end(), [](char c) {
    return IsLower(c) || IsDigit(c) || c == '-' || c == '.' || c == '@';
  });
  if (plain) std::printf("%s\n", id.c_str());
}

}  // namespace wavefield
