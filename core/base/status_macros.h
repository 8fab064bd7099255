#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the calling function if `expression`, an absl::Status, is an error.
#define WF_RETURN_IF_ERROR(expression)                                            \
  do {                                                                            \
    if (absl::Status wf_status = (expression); !wf_status.ok()) return wf_status; \
  } while (false)

#define WF_STATUS_CONCAT_INNER(a, b) a##b
#define WF_STATUS_CONCAT(a, b) WF_STATUS_CONCAT_INNER(a, b)

// `WF_ASSIGN_OR_RETURN(auto value, F())`: assigns the value of an absl::StatusOr, or returns its
// error.
#define WF_ASSIGN_OR_RETURN(target, expression) \
  WF_ASSIGN_OR_RETURN_INNER(WF_STATUS_CONCAT(wf_status_or_, __LINE__), target, expression)
#define WF_ASSIGN_OR_RETURN_INNER(status_or, target, expression) \
  auto status_or = (expression);                                 \
  if (!status_or.ok()) return std::move(status_or).status();     \
  target = *std::move(status_or)
