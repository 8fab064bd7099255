#pragma once

#include <string>

#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

// Records of RFC 4180, each ended by CRLF. Reals have as many digits as give the same number again;
// those that are not finite are "NaN", "Infinity" and "-Infinity". What is not known is empty.

std::string StepCsvHeader();
std::string StepCsvRecord(const v1::StepMetrics& step);

std::string EvaluationCsvHeader();
std::string EvaluationCsvRecord(const v1::EvaluationResult& evaluation);

}  // namespace wavefield
