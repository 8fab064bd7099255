#include "cli/spec_editing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "proto/rpc/status.h"

namespace wavefield {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

TEST(ParseSpecTest, TakesSnakeCaseAndCamelCase) {
  v1::JobSpec spec;
  ASSERT_TRUE(ParseSpec(R"({"dataset": "gcide", "training": {"maxSteps": "40", "batch_size": 8}})",
                        "spec.json", spec)
                  .ok());
  EXPECT_EQ(spec.dataset(), "gcide");
  EXPECT_EQ(spec.training().max_steps(), 40);
  EXPECT_EQ(spec.training().batch_size(), 8);
}

TEST(ParseSpecTest, ReportsEveryUnknownKeyWithTheNearestKnownOne) {
  v1::JobSpec spec;
  const absl::Status status = ParseSpec(
      R"({"datset": "x", "model": {"prset": "y"}, "training": {"schedule": {"learning_rte": 1}}})",
      "spec.json", spec);
  ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), HasSubstr("spec.json"));
  std::map<std::string, std::string> found;
  const google::rpc::BadRequest bad_request = BadRequestOf(status);
  for (const auto& violation : bad_request.field_violations()) {
    found[violation.field()] = violation.description();
  }
  EXPECT_EQ(found.size(), 3u);
  EXPECT_THAT(found["datset"], HasSubstr("'dataset'"));
  EXPECT_THAT(found["model.prset"], HasSubstr("'preset'"));
  EXPECT_THAT(found["training.schedule.learning_rte"], HasSubstr("'learning_rate'"));
}

TEST(ParseSpecTest, PointsToThePlaceOfAMisplacedKey) {
  v1::JobSpec spec;
  const absl::Status status = ParseSpec(R"({"learning_rate": 1})", "spec.json", spec);
  EXPECT_THAT(BadRequestOf(status).field_violations(0).description(),
              HasSubstr("'training.schedule.learning_rate'"));
}

TEST(ParseSpecTest, LabelsAreFree) {
  v1::JobSpec spec;
  ASSERT_TRUE(ParseSpec(R"({"labels": {"team": "a"}})", "spec.json", spec).ok());
  EXPECT_EQ(spec.labels().at("team"), "a");
}

TEST(ParseSpecTest, TakesTheSpecificationOfAJob) {
  v1::JobSpec spec;
  ASSERT_TRUE(ParseSpec(R"({"name": "jobs/a", "state": "JOB_STATE_RUNNING", "uid": "7",
                            "spec": {"dataset": "gcide", "training": {"max_steps": "40"}}})",
                        "job.json", spec)
                  .ok());
  EXPECT_EQ(spec.dataset(), "gcide");
  EXPECT_EQ(spec.training().max_steps(), 40);
  for (const char* json : {R"({"name": "jobs/a", "spec": 3})", R"({"name": "a", "spec": {"x": 1}})",
                           R"({"spec": {"dataset": "gcide"}})"}) {
    EXPECT_EQ(ParseSpec(json, "job.json", spec).code(), absl::StatusCode::kInvalidArgument) << json;
  }
}

TEST(ParseSpecTest, SaysWhereTheJsonIsWrong) {
  v1::JobSpec spec;
  EXPECT_THAT(MessageOf(ParseSpec("{", "spec.json", spec)),
              testing::StartsWith("spec.json: not valid JSON: parse error at line 1"));
}

TEST(ParseSpecTest, RefusesWhatIsNotAnObjectOfTheRightTypes) {
  for (const char* json : {"", "[]", "3", "{", "{\"priority\": \"high\"}", "{\"training\": 3}",
                           "{\"training\": {\"batch_size\": 1.5}}"}) {
    v1::JobSpec spec;
    EXPECT_EQ(ParseSpec(json, "spec.json", spec).code(), absl::StatusCode::kInvalidArgument)
        << json;
  }
}

TEST(SetFieldTest, SetsEveryKindOfField) {
  v1::JobSpec spec;
  for (const char* assignment :
       {"training.batch_size=8", "training.maxSteps=12345678901",
        "training.seed=18446744073709551615", "training.schedule.learning_rate=1e-3",
        "training.schedule.kind=cosine", "priority=-5", "labels.team.name=a=b",
        "model.attention_layers=[1, 3]"}) {
    const absl::Status status = SetField(assignment, spec);
    EXPECT_TRUE(status.ok()) << assignment << ": " << status;
  }
  EXPECT_EQ(spec.training().batch_size(), 8);
  EXPECT_EQ(spec.training().max_steps(), 12345678901);
  EXPECT_EQ(spec.training().seed(), UINT64_MAX);
  EXPECT_EQ(spec.training().schedule().learning_rate(), 1e-3);
  EXPECT_EQ(spec.training().schedule().kind(), "cosine");
  EXPECT_EQ(spec.priority(), -5);
  EXPECT_EQ(spec.labels().at("team.name"), "a=b");
  EXPECT_THAT(spec.model().attention_layers(), ElementsAre(1, 3));
}

TEST(SetFieldTest, LaterAssignmentsReplaceEarlierOnes) {
  v1::JobSpec spec;
  for (const char* assignment :
       {"model.attention_layers=1,2", "model.attention_layers=5", "labels.a=1", "labels.a=2",
        "training.batch_size=1", "training.batch_size=2"}) {
    ASSERT_TRUE(SetField(assignment, spec).ok()) << assignment;
  }
  EXPECT_THAT(spec.model().attention_layers(), ElementsAre(5));
  EXPECT_EQ(spec.labels().at("a"), "2");
  EXPECT_EQ(spec.training().batch_size(), 2);
  ASSERT_TRUE(SetField("model.attention_layers=", spec).ok());
  EXPECT_EQ(spec.model().attention_layers_size(), 0);
}

TEST(SetFieldTest, LetsTheCoordinatorJudgeValuesThatAreNotFinite) {
  v1::JobSpec spec;
  ASSERT_TRUE(SetField("training.schedule.learning_rate=nan", spec).ok());
  EXPECT_TRUE(std::isnan(spec.training().schedule().learning_rate()));
}

TEST(SetFieldTest, SaysWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"training.batchsize=3", "'batch_size'"},
      {"batch_size=3", "'training.batch_size'"},
      {"training=3", "is a group"},
      {"training.batch_size=many", "a whole number"},
      {"training.batch_size=3000000000", "32 bits"},
      {"training.batch_size=1.5", "a whole number"},
      {"training.batch_size=", "a whole number"},
      {"training.max_minutes=soon", "a number"},
      {"training.seed=-1", "non-negative"},
      {"training.batch_size.x=1", "has no fields"},
      {"model.attention_layers=1,x", "'x'"},
      {"labels=1", "labels.KEY=VALUE"},
      {"training.batch_size", "path.to.field=value"},
      {"=3", "no field ''"},
      {"training..batch_size=3", "no field ''"},
  };
  for (const auto& [assignment, expected] : cases) {
    v1::JobSpec spec;
    const absl::Status status = SetField(assignment, spec);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << assignment;
    EXPECT_THAT(MessageOf(status), HasSubstr(expected)) << assignment;
    EXPECT_THAT(MessageOf(status), HasSubstr(assignment));
  }
}

TEST(SetFieldTest, KeepsNumbersExactly) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 200; ++i) {
    const auto integer = static_cast<int64_t>(random());
    const double real =
        std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 200) - 100);
    char text[64];
    std::snprintf(text, sizeof(text), "%.17g", real);
    v1::JobSpec spec;
    ASSERT_TRUE(SetField("training.max_steps=" + std::to_string(integer), spec).ok());
    ASSERT_TRUE(SetField(std::string("training.max_minutes=") + text, spec).ok());
    EXPECT_EQ(spec.training().max_steps(), integer);
    EXPECT_EQ(spec.training().max_minutes(), real);
  }
}

}  // namespace
}  // namespace wavefield
