from django.urls import path

from apikeys import views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("integrations/", views.key_list, name="key-list"),
    path("integrations/new/", views.key_issue, name="key-issue"),
    path("integrations/new/sentence/", views.key_issue_sentence, name="key-issue-sentence"),
    path("keys/<uuid:key_id>/", views.key_detail, name="key-detail"),
    path("keys/<uuid:key_id>/uses/", views.key_uses, name="key-uses"),
    path("keys/<uuid:key_id>/revoke/", views.key_revoke, name="key-revoke"),
    path("projects/<uuid:project_id>/", views.project_detail, name="project-detail"),
]
