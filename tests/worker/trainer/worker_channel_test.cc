#include "worker/trainer/worker_channel.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/base/subprocess.h"

namespace wavefield {
namespace {

std::string ReadLine(int fd) {
  std::string line;
  for (char c; ::read(fd, &c, 1) == 1 && c != '\n';) line.push_back(c);
  return line;
}

TEST(WorkerChannel, EveryEventTellsTheUptimeWhichGrows) {
  auto sockets = SocketPair().value();
  WorkerChannel channel(std::move(sockets.first));
  double before = 0;
  for (int i = 0; i < 20; ++i) {
    channel.SendEvent({{"finished", {{"step", i}}}});
    const auto event = nlohmann::json::parse(ReadLine(sockets.second.get())).at("event");
    EXPECT_EQ(event.at("finished").at("step"), i);
    EXPECT_EQ(event.size(), 2u);
    const double uptime = event.at("uptime_seconds");
    EXPECT_GT(uptime, before);
    EXPECT_LT(uptime, 600) << "since the process began, not the machine";
    before = uptime;
  }
}

}  // namespace
}  // namespace wavefield
