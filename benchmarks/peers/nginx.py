"""nginx: static files by sendfile, and its own WebDAV PUT, in one process."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from benchmarks.peers.daemon import Daemon, program

#: What a careful administrator sets; the rest is as nginx comes. The temporary folder is on the storage of the target, or PUT would
#: copy each file once more.
_CONFIGURATION = """
{modules}
daemon off;
master_process off;
worker_processes 1;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log {folder}/access.log;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {folder}/temp;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/temp;
    uwsgi_temp_path {folder}/temp;
    scgi_temp_path {folder}/temp;
    server {{
        listen 127.0.0.1:{port}{secured};
        location /files/ {{ alias {files}/; {methods} }}
        location /put/ {{ root {folder}; dav_methods PUT; }}
    }}
}}
"""


class Nginx(Daemon):
    """nginx.

    :param files: what it serves under ``/files/``; PUT stores under ``/put/``
    :param dav: answer PROPFIND, too, by the module that is made for it
    :param certificate: to speak TLS, with its key
    """

    def __init__(
        self, folder: Path, port: int, files: Path, dav: bool = False, certificate: Path | None = None
    ) -> None:
        (folder / "put").mkdir(parents=True)
        configuration = folder / "nginx.conf"
        modules = "load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;" if dav else ""
        methods = "dav_ext_methods PROPFIND OPTIONS;" if dav else ""
        secured = f" ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate}" if certificate else ""
        configuration.write_text(
            _CONFIGURATION.format(
                folder=folder, port=port, files=files, modules=modules, methods=methods, secured=secured
            )
        )
        command = program("nginx")
        super().__init__(folder, port, [command, "-e", "stderr", "-p", str(folder), "-c", str(configuration)])
        version = subprocess.run([command, "-v"], capture_output=True, text=True, check=True).stderr
        self.title = "nginx " + re.sub(r".*nginx/(\S+).*", r"\1", version.strip(), flags=re.DOTALL)
