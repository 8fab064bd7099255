"""Workers, datasets, and who changed what."""

from . import names
from .calls import Calls, request_id_or_new
from .specs import build_dataset_options
from .uploads import create_dataset


class Cluster(Calls):

    def workers(self):
        """All workers, as they are asked for."""
        return self._items("WorkerService.ListWorkers", "workers")

    def cordon(self, worker, note="", request_id=None):
        """Gives a worker nothing new; what runs goes on."""
        return self._connection.unary("WorkerService.CordonWorker", name=names.worker_name(worker), note=note,
                                      request_id=request_id_or_new(request_id))

    def uncordon(self, worker, request_id=None):
        return self._connection.unary("WorkerService.UncordonWorker", name=names.worker_name(worker),
                                      request_id=request_id_or_new(request_id))

    def drain(self, worker, note="", request_id=None):
        """Cordons a worker and has its jobs go on elsewhere; `used_slots` is 0 when it is empty."""
        return self._connection.unary("WorkerService.DrainWorker", name=names.worker_name(worker), note=note,
                                      request_id=request_id_or_new(request_id))

    def datasets(self):
        """All datasets, as they are asked for."""
        return self._items("DatasetService.ListDatasets", "datasets")

    def dataset(self, dataset):
        return self._connection.unary("DatasetService.GetDataset", name=names.dataset_name(dataset))

    def create_dataset(self, name, files, *, on_progress=None, **options):
        """Makes a dataset of text files (.txt, .jsonl, those with .gz or .dz) and returns it; one of this name with the
        same files and options is returned as it is. options: fields of DatasetOptions, as tokenizer="bytes".
        on_progress: called with DatasetProgress."""
        config = {"dataset_id": names.resource_id(names.dataset_name(name)), "options": build_dataset_options(options)}
        return create_dataset(self._connection, config, list(files), on_progress)

    def audit_log(self, filter=""):
        """AuditEntry of every call that changed something, newest first, as they are asked for; for administrators."""
        return self._items("AuditService.ListAuditEntries", "entries", filter=filter)
