"""The settings of a Django site that is an OpenID provider by django-oauth-toolkit: the toolkit's guide, and what a
site adds to it (claims.py)."""

import json
import os
from pathlib import Path

BASE = Path(os.environ["SITE_DATA"])
# The first key signs; the others stay in the key set.
KEYS = json.loads((BASE / "keys.json").read_text())

SECRET_KEY = "a key of the test, which is no secret"
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "site_urls"
LOGIN_URL = "/login/"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# A transaction that reads before it writes fails at once when another one has written meanwhile; an immediate one waits.
SQLITE_OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 60}
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE / "site.sqlite3", "OPTIONS": SQLITE_OPTIONS}
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "oauth2_provider",
]
STATIC_URL = "/static/"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent],
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
OAUTH2_PROVIDER = {
    "OIDC_ENABLED": True,
    "OIDC_RSA_PRIVATE_KEY": KEYS[0],
    "OIDC_RSA_PRIVATE_KEYS_INACTIVE": KEYS[1:],
    "SCOPES": {"openid": "Who you are", "profile": "Name and groups", "email": "E-mail address"},
    "OAUTH2_VALIDATOR_CLASS": "claims.Validator",
    "ACCESS_TOKEN_GENERATOR": "claims.access_token",
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
}
