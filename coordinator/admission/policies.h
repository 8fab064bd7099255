#pragma once

#include <vector>

#include "core/model/config/field_violation.h"
#include "wavefield/v1/spec.pb.h"

namespace wavefield::coordinator {

// Fills in the defaults of what may change after a job was created — restarts, labels, priority,
// and which checkpoints are kept — and adds what is wrong with it.
void CheckPolicies(wavefield::v1::JobSpec& spec, std::vector<FieldViolation>& violations);

}  // namespace wavefield::coordinator
