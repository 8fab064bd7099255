#pragma once

#include <string>

#include "cli/views/report.h"

namespace wavefield {

// The curves of a report, as inline SVG figures; "" without steps.
std::string RenderReportCharts(const ReportData& data);

}  // namespace wavefield
