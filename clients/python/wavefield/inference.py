"""Models at work, in a free slot of the cluster."""

from . import errors, names
from .calls import Calls


class Inference(Calls):

    def evaluate(self, checkpoint, *, dataset=None, max_tokens=0, token_ids=(), sequence_length=0, on_progress=None,
                 timeout=None):
        """The EvaluationResult of a checkpoint on held-out text; default: all of the job's own. token_ids: one window
        of ids in place of a dataset. on_progress: called with the result so far."""
        result = None
        for output in self._connection.stream(
                "InferenceService.Evaluate", timeout, checkpoint=names.checkpoint_name(checkpoint),
                dataset=names.dataset_name(dataset) if dataset else "", max_tokens=max_tokens, token_ids=token_ids,
                sequence_length=sequence_length):
            if output.done:
                result = output.evaluation
            elif on_progress and output.HasField("evaluation"):
                on_progress(output.evaluation)
        if result is None:
            raise errors.Internal("the evaluation ended without a result")
        return result

    def generate(self, checkpoint, prompt, *, max_tokens=128, temperature=0.8, seed=1, timeout=None):
        """Continues `prompt`: a Generation, which yields text as it comes. temperature 0: the most likely token."""
        return Generation(self._connection.stream(
            "InferenceService.Generate", timeout, checkpoint=names.checkpoint_name(checkpoint), prompt=prompt,
            max_tokens=max_tokens, temperature=temperature, seed=seed))

    def audit_causality(self, checkpoint, *, dataset=None, windows=0, sequence_length=0, changes_per_window=0, seed=0,
                        timeout=None):
        """The CausalityReport of a checkpoint; one that has not `passed` is no error. 0: the coordinator's default."""
        report = None
        for output in self._connection.stream(
                "InferenceService.AuditCausality", timeout, checkpoint=names.checkpoint_name(checkpoint),
                dataset=names.dataset_name(dataset) if dataset else "", windows=windows,
                sequence_length=sequence_length, changes_per_window=changes_per_window, seed=seed):
            if output.HasField("causality"):
                report = output.causality
        if report is None:
            raise errors.Internal("the audit ended without a report")
        return report


class Generation:
    """Text as a model writes it: an iterator over pieces; the model starts with the first. `text` is what came so far;
    `summary` (a GenerationSummary) is None until the end."""

    def __init__(self, outputs):
        self._outputs, self.text, self.summary = outputs, "", None

    def __iter__(self):
        return self

    def __next__(self):
        for output in self._outputs:
            if output.HasField("summary"):
                self.summary = output.summary
            if output.text:
                self.text += output.text
                return output.text
        raise StopIteration

    def close(self):
        """Stops the model."""
        self._outputs.close()
