-- Run once by the image's entrypoint in the database POSTGRES_DB.
CREATE EXTENSION goahead;
-- Its password is in compose.yml; change both.
CREATE ROLE goahead_serve LOGIN PASSWORD 'goahead';
GRANT goahead_service TO goahead_serve;
