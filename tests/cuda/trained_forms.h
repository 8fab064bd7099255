#pragma once

#include <vector>

#include "tests/core/model/forms.h"

namespace wavefield::testing {

// Every form and way of the model that trains on a GPU: two heads of 16, the classic one with an
// interference.
inline std::vector<Form> TrainedForms() {
  std::vector<Form> forms = FormsAndWays(2, 16);
  std::erase_if(forms, [](const Form& form) {
    return form.options.propagation == Propagation::kDirect;  // for tests of operations
  });
  ModelConfig classic = forms.front().config;
  classic.form = "classic";
  classic.damping = "static";
  classic.deposit = "elementwise";
  classic.n_layers = 4;
  forms.push_back({"classic", classic, {}});
  return forms;
}

}  // namespace wavefield::testing
