#include "worker/agent/channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

namespace wavefield {
namespace {

using ::testing::HasSubstr;

TEST(LineBuffer, GivesTheSameLinesHoweverTheStreamIsCut) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  std::vector<std::string> lines;
  std::string stream;
  for (int i = 0; i < 200; ++i) {
    lines.emplace_back(random() % 50, static_cast<char>('a' + i % 26));
    stream += lines.back() + "\n";
  }
  LineBuffer buffer;
  std::vector<std::string> got;
  std::string line;
  for (size_t start = 0; start < stream.size();) {
    const size_t size = std::min<size_t>(1 + random() % 97, stream.size() - start);
    buffer.Append(std::string_view(stream).substr(start, size));
    start += size;
    while (*buffer.Next(line)) got.push_back(line);
  }
  EXPECT_EQ(got, lines);
}

TEST(LineBuffer, KeepsAnIncompleteLineForLater) {
  LineBuffer buffer;
  std::string line;
  buffer.Append("one\ntw");
  ASSERT_TRUE(*buffer.Next(line));
  EXPECT_FALSE(*buffer.Next(line));
  buffer.Append("o\n");
  ASSERT_TRUE(*buffer.Next(line));
  EXPECT_EQ(line, "two");
}

TEST(LineBuffer, RefusesALineOverTheLimitWithAndWithoutItsEnd) {
  for (const std::string& text : {std::string(100, 'x'), std::string(100, 'x') + "\n"}) {
    LineBuffer buffer(100);
    std::string line;
    buffer.Append(text);
    EXPECT_EQ(buffer.Next(line).status().code(), absl::StatusCode::kResourceExhausted);
  }
  LineBuffer buffer(100);
  std::string line;
  buffer.Append(std::string(99, 'x') + "\n");
  EXPECT_TRUE(*buffer.Next(line));
}

TEST(ParseMessage, ReadsAnEventByTheNamesOfTheProto) {
  const auto message =
      ParseMessage(R"({"event":{"step":{"step":"7","loss":"NaN","tokens":"8192"}}})");
  ASSERT_TRUE(message.ok()) << message.status();
  const auto& step = std::get<v1::TrainerEvent>(*message).step();
  EXPECT_EQ(step.step(), 7);
  EXPECT_EQ(step.tokens(), 8192);
  EXPECT_TRUE(std::isnan(step.loss()));
}

TEST(ParseMessage, ReadsRendezvousRequestsWithBinaryValues) {
  const auto set = ParseMessage(R"({"rendezvous_set":{"id":3,"key":"k","value":"AAH/"}})");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(std::get<RendezvousSet>(*set).id, 3);
  EXPECT_EQ(std::get<RendezvousSet>(*set).value, std::string("\0\x01\xff", 3));
  const auto wait = ParseMessage(R"({"rendezvous_wait":{"id":4,"key":"k","timeout_seconds":0.5}})");
  ASSERT_TRUE(wait.ok()) << wait.status();
  EXPECT_EQ(std::get<RendezvousWait>(*wait).timeout, absl::Milliseconds(500));
}

TEST(ParseMessage, SaysWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"{\"event\": oops", "not JSON"},
      {"", "not JSON"},
      {"[]", "one object"},
      {"{}", "one object"},
      {R"({"event":{},"more":{}})", "one object"},
      {R"({"event":{}})", "empty event"},
      {R"({"event":{"steps":{}}})", "steps"},
      {R"({"hello":{}})", "'hello'"},
      {"{\"event\":{\"warning\":\"\xff\"}}", "not JSON"},
      {R"({"rendezvous_set":{"id":"x","key":"k","value":""}})", "'id'"},
      {R"({"rendezvous_set":{"id":1,"key":7,"value":""}})", "'key'"},
      {R"({"rendezvous_set":{"id":1,"key":"k","value":"*"}})", "base64"},
      {R"({"rendezvous_wait":{"id":1,"key":"k"}})", "'timeout_seconds'"},
      {R"({"rendezvous_wait":{"id":1,"key":"k","timeout_seconds":-1}})", "timeout_seconds = -1"},
      {R"({"rendezvous_wait":{"id":1,"key":"k","timeout_seconds":1e9}})", "86400"},
  };
  for (const auto& [line, reason] : cases) {
    const auto message = ParseMessage(line);
    EXPECT_EQ(message.status().code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(message.status().message()), HasSubstr(reason)) << line;
  }
}

TEST(EncodeMessage, IsOneLineOfJson) {
  const auto parse = [](const WorkerMessage& message) {
    const std::string line = EncodeMessage(message);
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    return nlohmann::json::parse(line);
  };
  EXPECT_EQ(parse(StopRequest{}), nlohmann::json::parse(R"({"stop":{}})"));
  EXPECT_EQ(parse(AbortRequest{"two\nlines"}),
            nlohmann::json::parse(R"({"abort":{"reason":"two\nlines"}})"));
  EXPECT_EQ(parse(RendezvousReply{5, std::string("\0\x01\x02", 3), {}}),
            nlohmann::json::parse(R"({"rendezvous_reply":{"id":5,"value":"AAEC","error":""}})"));
  EXPECT_EQ(parse(RendezvousReply{6, "", absl::AbortedError("over")})["rendezvous_reply"]["error"],
            "ABORTED: over");
}

}  // namespace
}  // namespace wavefield
