#pragma once

#include <string>

#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

// A job of two ranks.
inline v1::Job MakeJob(const std::string& id, v1::JobState state) {
  v1::Job job;
  job.set_name("jobs/" + id);
  job.set_state(state);
  job.mutable_spec()->mutable_resources()->set_world_size(2);
  return job;
}

}  // namespace wavefield
