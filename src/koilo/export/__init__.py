"""Files that other systems take: PDF, FHIR, HL7 v2, DICOM and GeoJSON of a slide's result."""
