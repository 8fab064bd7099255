#pragma once

#include <string>

#include "coordinator/store/records.pb.h"

namespace wavefield::coordinator {

// What to look at and what to do about a root cause whose other fields are filled in, for people.
// Never empty.
std::string AdviceFor(const wavefield::v1::RootCause& cause, const wavefield::v1::Job& job);

}  // namespace wavefield::coordinator
