"""Addresses of the views for machines; include them behind whatever keeps others out."""

from __future__ import annotations

from django.urls import path

from django_smtpx import views

app_name = "django_smtpx"

urlpatterns = [
    path("health/", views.health, name="health"),
    path("metrics/", views.metrics, name="metrics"),
]
