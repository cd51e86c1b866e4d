from django.urls import path

from apikeys.views import detail, ending, issuing, overview, table

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("integrations/", table.key_list, name="key-list"),
    path("integrations/new/", issuing.key_issue, name="key-issue"),
    path("integrations/new/sentence/", issuing.key_issue_sentence, name="key-issue-sentence"),
    path("keys/<uuid:key_id>/", detail.key_detail, name="key-detail"),
    path("keys/<uuid:key_id>/uses/", detail.key_uses, name="key-uses"),
    path("keys/<uuid:key_id>/revoke/", ending.key_revoke, name="key-revoke"),
    path("projects/<uuid:project_id>/", table.project_detail, name="project-detail"),
]
