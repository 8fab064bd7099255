#include "coordinator/metrics/process_stat.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace wavefield::coordinator {
namespace {

// Seconds since the epoch; 0 if it is not known.
double BootTime() {
  std::ifstream file("/proc/stat");
  std::string word;
  while (file >> word) {
    if (word != "btime") continue;
    double seconds = 0;
    file >> seconds;
    return seconds;
  }
  return 0;
}

}  // namespace

absl::StatusOr<ProcessStat> ReadProcessStat() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  // The second field, the program's name in parentheses, may contain anything.
  std::istringstream rest(line.substr(std::min(line.rfind(')') + 1, line.size())));
  // From the third field of proc(5) on.
  std::vector<std::string> fields;
  for (std::string field; rest >> field;) fields.push_back(field);
  const auto number = [&](size_t one_based) { return std::stod(fields[one_based - 3]); };
  if (fields.size() < 24 - 2) return absl::UnavailableError("/proc/self/stat cannot be read");
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  ProcessStat stat;
  stat.cpu_seconds = (number(14) + number(15)) / ticks;
  stat.start_time = BootTime() + number(22) / ticks;
  stat.resident_bytes = static_cast<int64_t>(number(24)) * ::sysconf(_SC_PAGESIZE);
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end;
       !error && entry != end; entry.increment(error)) {
    ++stat.open_files;
  }
  return stat;
}

}  // namespace wavefield::coordinator
