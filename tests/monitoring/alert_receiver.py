"""Where Alertmanager sends its notifications in a test."""

import http.server
import json
import threading


class AlertReceiver:
    """Collects who is told what; `firing` and `resolved` are names of alerts, with the labels they came with."""

    def __init__(self):
        self.firing, self.resolved = {}, {}
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in body["alerts"]:
                    told = receiver.firing if alert["status"] == "firing" else receiver.resolved
                    told.setdefault(alert["labels"]["alertname"], []).append(alert)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
