// The page of `wavefield report`.
#include "cli/views/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "absl/strings/str_replace.h"

namespace wavefield {
namespace {

using testing::HasSubstr;
using testing::Not;

ReportData SmallReport() {
  ReportData data;
  data.written = absl::FromUnixSeconds(20000);
  data.job.set_name("jobs/first");
  data.job.set_state(v1::JOB_STATE_SUCCEEDED);
  data.job.set_max_steps(4);
  data.job.mutable_spec()->mutable_model()->set_preset("wave-field-3m");
  data.job.mutable_spec()->mutable_model()->set_d_model(192);
  data.job.mutable_spec()->mutable_model()->set_n_layers(3);
  for (const auto& [step, attempt] : {std::pair(1, 1), {2, 1}, {3, 1}, {3, 2}, {4, 2}}) {
    v1::StepMetrics& metrics = *data.history.add_steps();
    metrics.set_step(step);
    metrics.set_attempt(attempt);
    metrics.set_loss(5.0 - step);
    metrics.set_grad_norm(1);
    metrics.set_tokens_per_second(100);
    metrics.mutable_phase_seconds()->set_forward(0.1);
  }
  *data.job.mutable_last_step() = *data.history.steps().rbegin();
  return data;
}

// Between `begin` and the next `end`.
std::string Part(const std::string& html, const std::string& begin, const std::string& end) {
  const size_t from = html.find(begin);
  if (from == std::string::npos) return "";
  return html.substr(from, html.find(end, from) - from);
}

TEST(ReportTest, TellsTheStateTheCurvesAndTheAttempts) {
  const std::string html = RenderReport(SmallReport());
  EXPECT_THAT(html, HasSubstr("class=\"state SUCCEEDED\">SUCCEEDED</strong>"));
  EXPECT_THAT(html, HasSubstr("<dt>steps</dt><dd>4 of 4</dd>"));
  EXPECT_THAT(html, HasSubstr("<dt>training loss</dt><dd>1.0000</dd>"));
  const std::string loss = Part(html, "id=\"chart-loss\"", "</figure>");
  EXPECT_THAT(loss, HasSubstr("<path class=\"series\""));
  EXPECT_THAT(loss, HasSubstr("attempt 2 began here"));
  EXPECT_THAT(html, HasSubstr("id=\"chart-phases\""));
  EXPECT_THAT(html, Not(HasSubstr("id=\"chart-bits-per-byte\""))) << "there are no evaluations";
  const std::string attempts = Part(html, "<table id=\"attempts\">", "</table>");
  EXPECT_THAT(attempts, HasSubstr("<td class=\"number\">1</td><td class=\"number\">1</td>"
                                  "<td class=\"number\">3</td><td>-</td><td>-</td>"
                                  "<td class=\"number\">1</td>"))
      << attempts;
  EXPECT_THAT(html, Not(HasSubstr("id=\"goodput\""))) << "what is not known is left out";
}

TEST(ReportTest, MarksWhatTheJobHasOtherThanItsPreset) {
  const std::string settings =
      Part(RenderReport(SmallReport()), "<table id=\"settings\">", "</table>");
  EXPECT_THAT(settings, HasSubstr("<td>model.d_model</td><td>192</td><td></td>"));
  EXPECT_THAT(settings, testing::ContainsRegex("<td>model.n_layers</td><td>3</td><td>[0-9]+</td>"));
}

TEST(ReportTest, TheLedgerNamesEveryBucketAndEndsWithTheTotal) {
  ReportData data = SmallReport();
  v1::Goodput& goodput = *data.job.mutable_goodput();
  goodput.set_total(4000);
  goodput.set_useful_steps(3000);
  goodput.set_idle(1000);
  const std::string ledger = Part(RenderReport(data), "<table id=\"goodput-ledger\">", "</table>");
  EXPECT_THAT(ledger, HasSubstr("<td>useful steps</td><td class=\"number\">75.0 %</td>"
                                "<td class=\"number\">3.0s</td><td class=\"number\">3,000</td>"));
  EXPECT_THAT(ledger, HasSubstr("<td>checkpoint stall</td>"));
  const size_t idle = ledger.find("<td>idle</td>"), total = ledger.find("<td>total</td>");
  EXPECT_LT(idle, total);
  EXPECT_THAT(ledger, HasSubstr("<td>total</td><td class=\"number\">100.0 %</td>"));
}

TEST(ReportTest, TextFromElsewhereStaysText) {
  const std::string evil = "<script>alert('x')</script>\"&";
  ReportData data = SmallReport();
  data.job.set_name("jobs/" + absl::StrReplaceAll(evil, {{"/", ""}}));
  data.job.set_state_message(evil);
  data.job.add_warnings(evil);
  (*data.job.mutable_spec()->mutable_labels())[evil] = evil;
  data.job.mutable_spec()->set_dataset(evil);
  v1::Checkpoint checkpoint;
  checkpoint.set_note(evil);
  checkpoint.set_fingerprint(evil);
  data.checkpoints.push_back(checkpoint);
  v1::Worker worker;
  worker.set_name("workers/" + evil);
  worker.set_version(evil);
  worker.add_gpus()->set_model(evil);
  data.workers.push_back(worker);
  data.dataset.emplace();
  data.dataset->set_tokenizer(evil);
  const std::string html = RenderReport(data);
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("</script")));
  EXPECT_THAT(html,
              HasSubstr("<li>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;</li>"));
}

TEST(ReportTest, RefersToNothingOutside) {
  const std::string html = RenderReport(SmallReport());
  for (const char* reference : {"http:", "https:", "//", "src=", "href=", "@import", "url("}) {
    EXPECT_THAT(html, Not(HasSubstr(reference)));
  }
}

TEST(ReportTest, ALongHistoryStaysBelowTwoMegabytes) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> real(0.001, 10);
  ReportData data = SmallReport();
  data.history.Clear();
  data.stride = 50;
  data.job.mutable_spec()->mutable_resources()->set_world_size(8);
  for (int i = 1; i <= 20000; ++i) {
    v1::StepMetrics& step = *data.history.add_steps();
    step.set_step(i * data.stride);
    step.set_attempt(1);
    for (const auto set :
         {&v1::StepMetrics::set_loss, &v1::StepMetrics::set_grad_norm,
          &v1::StepMetrics::set_accuracy, &v1::StepMetrics::set_learning_rate,
          &v1::StepMetrics::set_tokens_per_second, &v1::StepMetrics::set_rank_skew_seconds}) {
      (step.*set)(real(random));
    }
    step.mutable_phase_seconds()->set_forward(real(random));
    v1::EvaluationResult& evaluation = *data.history.add_evaluations();
    evaluation.set_step(step.step());
    evaluation.set_attempt(1);
    evaluation.set_loss(real(random));
    evaluation.set_bits_per_byte(real(random));
    evaluation.set_accuracy(real(random));
    evaluation.set_ema_loss(real(random));
  }
  data.checkpoints.resize(5000);
  data.workers.resize(5000);
  data.field_health.emplace();
  for (int i = 0; i < 64; ++i) {
    v1::LayerHealth& layer = *data.field_health->add_layers();
    for (int h = 0; h < 128; ++h) layer.add_heads()->set_frequency(real(random));
  }
  const std::string html = RenderReport(data);
  EXPECT_LT(html.size(), 2'000'000u);
  EXPECT_THAT(html, HasSubstr("Every 50th step is drawn."));
  EXPECT_THAT(html, HasSubstr("The last 200 of 20,000."));
  EXPECT_THAT(html, HasSubstr("The first 1024 heads."));
}

TEST(ReportTest, AJobThatHasNotBegunHasAReportToo) {
  ReportData data;
  data.job.set_name("jobs/waiting");
  data.job.set_state(v1::JOB_STATE_QUEUED);
  data.job.set_state_message("needs 2 slots, 1 is free");
  const std::string html = RenderReport(data);
  EXPECT_THAT(html, HasSubstr("needs 2 slots, 1 is free"));
  EXPECT_THAT(html, Not(HasSubstr("<svg")));
}

}  // namespace
}  // namespace wavefield
