#pragma once

#include <string>

#include "absl/strings/ascii.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield::coordinator {

// In lower case and without its prefix; "unknown" of a number that this version has no name for.
inline std::string ShortName(const std::string& name, const std::string& prefix) {
  return name.empty() ? "unknown" : absl::AsciiStrToLower(name.substr(prefix.size()));
}

// "running" of JOB_STATE_RUNNING.
inline std::string NameOf(wavefield::v1::JobState state) {
  return ShortName(wavefield::v1::JobState_Name(state), "JOB_STATE_");
}

// "rank_died" of JOB_REASON_RANK_DIED; "none" where there is no reason.
inline std::string NameOf(wavefield::v1::JobReason reason) {
  if (reason == wavefield::v1::JOB_REASON_UNSPECIFIED) return "none";
  return ShortName(wavefield::v1::JobReason_Name(reason), "JOB_REASON_");
}

}  // namespace wavefield::coordinator
