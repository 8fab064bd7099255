#pragma once

#include <string>

#include "cli/views/view_style.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

// The page of `wavefield explain`: why a job waits, or why it ended as it did.
std::string FormatExplanation(const v1::JobExplanation& explanation, const ViewStyle& style);

// The table of `wavefield queue`.
std::string FormatQueue(const v1::ListQueueResponse& queue, const ViewStyle& style);

}  // namespace wavefield
