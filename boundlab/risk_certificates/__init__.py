"""A bound on the risk of one net as a file: issued here, checked by anyone with the data."""

from __future__ import annotations

from boundlab.risk_certificates.certificate import RiskCertificate, read_certificate
from boundlab.risk_certificates.checking import Checked, check_certificate
from boundlab.risk_certificates.issuing import issue_certificate

__all__ = ["Checked", "RiskCertificate", "check_certificate", "issue_certificate", "read_certificate"]
