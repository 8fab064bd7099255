#pragma once

#include <string>

#include "absl/strings/ascii.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield::coordinator {

// "a" of "jobs/a", and of "a".
inline std::string IdIn(const std::string& name) { return name.substr(name.rfind('/') + 1); }

// "running" of JOB_STATE_RUNNING.
inline std::string NameOf(wavefield::v1::JobState state) {
  return absl::AsciiStrToLower(
      wavefield::v1::JobState_Name(state).substr(std::string("JOB_STATE_").size()));
}

// "rank_died" of JOB_REASON_RANK_DIED; "none" where there is no reason.
inline std::string NameOf(wavefield::v1::JobReason reason) {
  if (reason == wavefield::v1::JOB_REASON_UNSPECIFIED) return "none";
  return absl::AsciiStrToLower(
      wavefield::v1::JobReason_Name(reason).substr(std::string("JOB_REASON_").size()));
}

}  // namespace wavefield::coordinator
