"""The same over TLS, with a certificate authority that the kubeconfig names."""

import shutil
import subprocess

import pytest

import hpo_core as hpo

OPENSSL = shutil.which("openssl")


@pytest.mark.skipif(OPENSSL is None, reason="the program openssl makes the certificate, and is not installed")
def test_a_study_runs_over_https(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "made.pem"
    words = (
        f"{OPENSSL} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*words.split(), "-keyout", made, "-out", tmp_path / "ca.pem"], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_bytes(made.read_bytes() + (tmp_path / "ca.pem").read_bytes())
    cluster = type(fake)(tmp_path, both, tmp_path / "ca.pem")
    try:
        options = {"kubeconfig": str(cluster.kubeconfig)}
        evaluator = hpo.Evaluator(
            "echo FoM: 1; true", workload_manager="k8s", workload_image="lab/any:1", launcher_options=options
        )
        study = hpo.Study(hpo.Params([["--x", 0.5, (0.0, 1.0)]]), evaluator, n_trials=2, seed=1)
        with evaluator, study:
            study.optimize()
        assert study.best_fom == 1
    finally:
        cluster.close()
